"""``through`` at work: strategies written by hand in the middle of a flow, and at its end."""

from __future__ import annotations

from typing import Any

import pytest

from flowdsl import (
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    dead_letter,
    filter_,
    flat_map,
    from_iterable,
    map_,
    sink,
    through,
)
from flowdsl.errors import InvalidMessage
from flowdsl.strategies import BatchStep, CommitOffsets, FilterStep, Message, RunTask, UnbatchStep
from flowdsl.testing import Driver, VirtualClock

P0, P1 = Partition(Topic("t"), 0), Partition(Topic("t"), 1)


class Middle:
    """A factory out of a function from the strategy behind to the strategy itself."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def create_with_partitions(self, commit: Any, partitions: Any, downstream: Any) -> Any:
        return self._make(downstream)


class End:
    """A factory that ends the flow in a function, and commits by itself."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def create_with_partitions(self, commit: Any, partitions: Any) -> Any:
        return RunTask(self._function, CommitOffsets(commit))


def driver_of(*operators: Any, **given: Any) -> Driver:
    flow: Any = LocalBroker().source("t", group_id="g")
    return Driver(flow.pipe(*operators), **given)


def end() -> Any:
    return sink(lambda _: None, name="end")


def send(driver: Driver, *values: bytes) -> None:
    for value in values:
        driver.send(value)


def test_task_in_the_middle_changes_values_one_by_one() -> None:
    def upper(message: Message[bytes]) -> bytes:
        return message.payload.upper()

    task = Middle(lambda after: RunTask(upper, after))
    driver = driver_of(map_(bytes), through(task), map_(bytes.decode), end())
    send(driver, b"a", b"b", b"c")
    driver.advance(1.0)
    assert (driver.outputs, driver.committed) == (["A", "B", "C"], {P0: 3})


def test_filter_in_the_middle_moves_offsets_of_what_it_drops() -> None:
    task = Middle(lambda after: FilterStep(lambda message: message.payload != b"x", after))
    driver = driver_of(filter_(lambda v: v != b"y"), through(task), end())
    send(driver, b"x", b"y", b"a", b"x")
    driver.advance(1.0)
    assert (driver.outputs, driver.committed) == ([b"a"], {P0: 4})


def test_batches_in_the_middle_hold_their_offsets() -> None:
    clock = VirtualClock()
    task = Middle(lambda after: BatchStep(2, 5.0, after, clock=clock))
    driver = driver_of(through(task), end(), clock=clock)
    send(driver, b"a", b"b", b"c")
    driver.advance(1.0)
    assert (len(driver.outputs), driver.committed) == (1, {P0: 2})
    driver.advance(4.0)
    assert len(driver.outputs) == 2
    driver.advance(1.0)
    assert driver.committed == {P0: 3}


def test_batch_and_unbatch_by_hand_give_back_the_values() -> None:
    task = Middle(lambda after: BatchStep(2, 5.0, UnbatchStep(after)))
    driver = driver_of(through(task), end())
    driver.send(b"a", partition=0)
    driver.send(b"b", partition=1)
    driver.send(b"c", partition=1)
    driver.close()
    assert driver.outputs == [b"a", b"b", b"c"]
    assert driver.committed == {P0: 1, P1: 2}


def test_held_records_are_read_again_after_a_crash() -> None:
    task = Middle(lambda after: BatchStep(3, 5.0, UnbatchStep(after)))
    driver = driver_of(through(task), end())
    send(driver, b"a", b"b")
    driver.run_until_idle()
    driver.crash()
    driver.restart()
    send(driver, b"c")
    driver.close()
    assert (driver.outputs, driver.committed) == ([b"a", b"b", b"c"], {P0: 3})


def test_factory_of_two_arguments_ends_the_flow_and_commits() -> None:
    seen: list[bytes] = []
    driver = driver_of(filter_(lambda v: v != b"x"), through(End(lambda message: seen.append(message.payload))))
    send(driver, b"a", b"x", b"b", b"x")
    driver.close()
    assert (seen, driver.committed) == ([b"a", b"b"], {P0: 4})


def test_what_an_end_of_ones_own_committed_was_delivered() -> None:
    def refuse_b(message: Message[bytes]) -> bytes:
        if message.payload == b"b":
            raise InvalidMessage.from_value(message.value)
        return message.payload

    broker = LocalBroker()
    broker.write("t", [b"a", b"b", b"c"])
    twice = broker.source("t", group_id="g") | flat_map(lambda v: [v, v] if v != b"b" else [v])
    stats = (twice | through(End(refuse_b), on_error="skip")).run(until="end")
    assert (stats.delivered, stats.failed) == (4, 1)


def test_exception_of_a_strategy_stops_the_flow_and_commits_what_came_before() -> None:
    def task(message: Any) -> Any:
        if message.payload == b"x":
            raise OSError("gone")
        return message.payload

    driver = driver_of(through(Middle(lambda after: RunTask(task, after))), end())
    send(driver, b"a", b"x", b"b")
    with pytest.raises(StepFailed, match="gone") as failed:
        driver.run_until_idle()
    assert (failed.value.offset, failed.value.value, failed.value.step) == (1, b"x", "through")
    assert isinstance(failed.value.__cause__, OSError)
    assert (driver.outputs, driver.committed) == ([b"a"], {P0: 1})


@pytest.mark.parametrize("letters", [False, True])
def test_invalid_message_is_what_the_policy_is_for(letters: bool) -> None:
    def task(message: Any) -> Any:
        if message.payload == b"x":
            raise InvalidMessage.from_value(message.value, reason="x")
        return message.payload

    policy: Any = dead_letter(sink(lambda _: None, name="letters")) if letters else "skip"
    driver = driver_of(through(Middle(lambda after: RunTask(task, after))), end(), on_error=policy)
    send(driver, b"a", b"x", b"b", b"x", b"c")
    driver.close()
    assert (driver.outputs, driver.committed) == ([b"a", b"b", b"c"], {P0: 5})
    assert [letter.offset for letter in driver.dead_letters] == ([1, 3] if letters else [])


def test_rejection_behind_a_strategy_loses_nothing() -> None:
    task = Middle(lambda after: RunTask(lambda message: message.payload, after))
    driver = driver_of(through(task), map_(bytes, name="look"), end())
    driver.reject_next("look")
    send(driver, b"a", b"b", b"c")
    driver.close()
    assert (driver.outputs, driver.committed) == ([b"a", b"b", b"c"], {P0: 3})


def test_invalid_message_is_asked_about_before_its_offset_moves() -> None:
    """A strategy lets the offset go first and tells afterwards that it was invalid."""

    def task(message: Any) -> Any:
        if message.payload == b"x":
            raise InvalidMessage.from_value(message.value, reason="x")
        return message.payload

    driver = driver_of(
        through(Middle(lambda after: RunTask(task, after))), end(), on_error=dead_letter(sink(refuse, name="letters"))
    )
    send(driver, b"a", b"x", b"b")
    with pytest.raises(StepFailed, match="full"):
        driver.close()
    assert driver.committed == {P0: 1}


def refuse(_: Any) -> None:
    raise OSError("full")


def test_strategy_at_the_end_is_asked_about_before_its_offset_moves() -> None:
    def task(message: Any) -> None:
        if message.payload == b"x":
            raise InvalidMessage.from_value(message.value, reason="x")

    driver = driver_of(through(End(task)), on_error=dead_letter(sink(lambda _: None, name="letters")))
    send(driver, b"a", b"x", b"b")
    driver.close()
    assert driver.committed == {P0: 3}
    assert [letter.offset for letter in driver.dead_letters] == [1]


def test_factory_that_returns_no_strategy_is_named() -> None:
    flow: Any = from_iterable([1]) | through(Middle(lambda _: None)) | end()
    with pytest.raises(TypeError, match=r"Middle object .* must return a strategy, but returned None"):
        flow.run()


def test_invalid_records_are_dead_letters_in_the_order_in_which_they_came() -> None:
    def refused(message: Message[bytes]) -> bytes:
        raise InvalidMessage.from_value(message)

    task = Middle(lambda after: RunTask(refused, after))
    driver = driver_of(through(task, on_error=dead_letter(sink(lambda _: None, name="letters"))), end())
    send(driver, *(b"%d" % number for number in range(9)))
    driver.close()
    assert [letter.value for letter in driver.dead_letters] == [b"%d" % number for number in range(9)]
    assert driver.committed == {P0: 9}
