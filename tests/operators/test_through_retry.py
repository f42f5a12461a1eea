"""``retry`` of a strategy written by hand: an invalid record is given to it again, and its partition waits behind it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from flowdsl import LocalBroker, Partition, StepFailed, Topic, flat_map, immediately, retry, through, to_list
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import InvalidMessage
from flowdsl.stages.returning import PATIENCE
from flowdsl.strategies import BatchStep, CommitOffsets, Message, RunTask, RunTaskInThreads
from flowdsl.testing import Driver, VirtualClock
from tests.operators.test_through_runs import Middle, driver_of, end, send
from tests.strategies.doubles import ClosedUntil

P0, P1 = Partition(Topic("t"), 0), Partition(Topic("t"), 1)


class Invalid:
    """Calls some values invalid so many times; notes every call."""

    def __init__(self, **times: int) -> None:
        self.times = {name.encode(): count for name, count in times.items()}
        self.calls: Counter[bytes] = Counter()

    def __call__(self, message: Message[Any]) -> Any:
        value = message.payload
        self.calls[value] += 1
        if self.calls[value] <= self.times.get(value, 0):
            partition, offset = next(iter(message.committable.items()), (P0, 1))
            raise InvalidMessage(partition, offset - 1, reason="not now")
        return value


class OneByOne:
    """Ends the flow in a function, and commits by itself."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def create_with_partitions(self, commit: Any, partitions: Any) -> Any:
        return RunTask(self._function, CommitOffsets(commit))


def in_the_middle(task: Invalid) -> Middle:
    return Middle(lambda downstream: RunTask(task, downstream))


def test_an_invalid_record_is_given_again_after_the_wait_and_order_is_kept() -> None:
    task = Invalid(b=2)
    policy = retry(3, first=1.0, jitter=False)
    driver = driver_of(through(in_the_middle(task), on_error=policy), end(), commit=immediately)
    send(driver, b"a", b"b", b"c")
    driver.run_until_idle()
    assert (driver.outputs, driver.committed) == ([b"a"], {P0: 1})
    driver.advance(0.99)
    assert task.calls == {b"a": 1, b"b": 1}
    driver.advance(0.02)
    assert task.calls == {b"a": 1, b"b": 2}
    driver.advance(1.9)
    assert driver.outputs == [b"a"]
    driver.advance(0.2)
    assert (driver.outputs, driver.committed) == ([b"a", b"b", b"c"], {P0: 3})
    assert task.calls == {b"a": 1, b"b": 3, b"c": 1}
    driver.close()


def test_other_partitions_pass_a_record_that_is_given_again_and_nothing_is_committed_past_it() -> None:
    policy = retry(2, first=5.0, jitter=False)
    driver = driver_of(through(in_the_middle(Invalid(bad=1)), on_error=policy), end(), commit=immediately)
    send(driver, b"a", b"bad", b"behind")
    driver.run_until_idle()
    for number in range(3):
        driver.send(b"other %d" % number, partition=1)
    driver.send(b"behind, too")
    driver.run_until_idle()
    assert driver.outputs == [b"a", b"other 0", b"other 1", b"other 2"]
    assert driver.committed == {P0: 1}
    driver.advance(5.1)
    assert driver.outputs[-3:] == [b"bad", b"behind", b"behind, too"]
    assert driver.committed == {P0: 4, P1: 3}
    driver.close()


def test_two_partitions_wait_for_their_own_records() -> None:
    task = Invalid(x=1, y=2)
    driver = driver_of(through(in_the_middle(task), on_error=retry(3, first=1.0, jitter=False)), end())
    driver.send(b"x", partition=0)
    driver.send(b"y", partition=1)
    driver.send(b"x2", partition=0)
    driver.send(b"y2", partition=1)
    driver.run_until_idle()
    driver.advance(1.5)
    assert driver.outputs == [b"x", b"x2"]
    driver.advance(2.0)
    assert driver.outputs == [b"x", b"x2", b"y", b"y2"]
    driver.close()


def test_the_last_attempt_stops_the_run_and_tells_how_many_there_were() -> None:
    task = Invalid(b=9)
    driver = driver_of(through(in_the_middle(task), on_error=retry(3, first=0.1)), end(), commit=immediately)
    send(driver, b"a", b"b", b"c")
    driver.run_until_idle()
    with pytest.raises(StepFailed) as failed:
        driver.advance(10)
    assert (failed.value.attempts, failed.value.offset, task.calls[b"b"]) == (3, 1, 3)
    assert (driver.outputs, driver.committed) == ([b"a"], {P0: 1})


def test_what_was_in_vain_is_skipped_and_what_waited_goes_on() -> None:
    policy = retry(2, first=0.5, then="skip")
    driver = driver_of(through(in_the_middle(Invalid(b=9)), on_error=policy), end(), commit=immediately)
    send(driver, b"a", b"b", b"c")
    driver.run_until_idle()
    driver.advance(1.0)
    assert (driver.outputs, driver.committed) == ([b"a", b"c"], {P0: 3})
    driver.close()


def test_a_strategy_at_the_end_is_given_records_again_too() -> None:
    task = Invalid(b=1)
    driver = driver_of(through(OneByOne(task), on_error=retry(2, first=1.0, jitter=False)), commit=immediately)
    send(driver, b"a", b"b", b"c")
    driver.run_until_idle()
    assert driver.committed == {P0: 1}
    driver.advance(1.1)
    assert driver.committed == {P0: 3}
    assert task.calls == {b"a": 1, b"b": 2, b"c": 1}
    driver.close()


@pytest.mark.parametrize("which", [b"1", b"2", b"3"])
def test_of_several_values_of_a_record_those_are_given_again_that_were_not_taken(which: bytes) -> None:
    task = Invalid(**{which.decode(): 1})
    several = flat_map(lambda value: [b"1", b"2", b"3"] if value == b"a" else [value])
    driver = driver_of(several, through(in_the_middle(task), on_error=retry(2, first=1.0)), end(), commit=immediately)
    send(driver, b"a", b"b")
    driver.run_until_idle()
    assert driver.committed == {}
    driver.advance(1.1)
    assert (driver.outputs, driver.committed) == ([b"1", b"2", b"3", b"b"], {P0: 2})
    assert task.calls == {b"1": 1, b"2": 1, b"3": 1, b"b": 1} | {which: 2}
    driver.close()


def test_what_waits_to_be_given_again_is_read_again_after_a_stop() -> None:
    task = Invalid(b=1)
    driver = driver_of(through(in_the_middle(task), on_error=retry(9, first=60.0)), end(), commit=immediately)
    send(driver, b"a", b"b", b"c")
    driver.run_until_idle()
    driver.revoke(P0)
    assert (driver.outputs, driver.committed) == ([b"a"], {P0: 1})
    driver.assign(P0)
    driver.run_until_idle()
    assert (driver.outputs, driver.committed) == ([b"a", b"b", b"c"], {P0: 3})
    driver.close()


def held(task: Invalid, clock: VirtualClock) -> Middle:
    """Checks, then keeps two of each."""
    return Middle(lambda downstream: RunTask(task, BatchStep(2, 3600.0, downstream, clock=clock)))


def keeping(clock: VirtualClock) -> Driver:
    """A strategy that found the second of three records invalid, and keeps the partition."""
    step = through(held(Invalid(b=1), clock), on_error=retry(3, first=1.0, then="skip"))
    driver = driver_of(step, end(), clock=clock, commit=immediately)
    send(driver, b"a", b"b", b"c")
    driver.run_until_idle()
    return driver


def test_a_strategy_that_keeps_a_partition_too_long_is_not_given_the_record_again() -> None:
    clock = VirtualClock()
    driver = keeping(clock)
    driver.advance(1.1)
    assert driver.outputs == []
    driver.advance(PATIENCE)
    assert [value.payload for value in driver.outputs[0]] == [b"a", b"c"]
    assert driver.committed == {P0: 3}
    driver.close()


def test_a_turn_that_took_long_is_no_reason_to_give_a_record_up() -> None:
    clock = VirtualClock()
    driver = keeping(clock)
    clock.advance(3 * PATIENCE)  # a function elsewhere, or a frozen process: the strategy had no turn
    driver.run_until_idle()
    assert driver.outputs == []
    driver.advance(PATIENCE)
    assert [value.payload for value in driver.outputs[0]] == [b"a", b"c"]
    driver.close()


def test_a_strategy_may_keep_for_as_long_as_it_likes_what_is_not_taken_behind_it() -> None:
    clock = VirtualClock()
    checking = Middle(lambda downstream: RunTask(Invalid(b=1), RunTask(lambda message: message.payload, downstream)))
    gate = Middle(lambda downstream: ClosedUntil(4 * PATIENCE, clock, downstream))
    steps = through(checking, on_error=retry(3, first=1.0)), through(gate)
    driver = driver_of(*steps, end(), clock=clock, commit=immediately)
    send(driver, b"z", b"y", b"a", b"b", b"c")
    driver.advance(3 * PATIENCE)
    assert driver.outputs == []
    driver.advance(2 * PATIENCE)
    assert driver.outputs == [b"z", b"y", b"a", b"b", b"c"]
    driver.close()


def test_records_that_threads_find_invalid_are_given_to_them_again() -> None:
    values = [b"%d" % number for number in range(90)]
    task = Invalid()
    task.times = {value: number % 3 for number, value in enumerate(values)}
    threads = Middle(lambda downstream: RunTaskInThreads(task, 4, 16, downstream))
    broker = LocalBroker(partitions=2)
    broker.write("t", values, partition=lambda value: int(value) % 2)
    flow: Any = broker.source("t", group_id="g") | through(threads, on_error=retry(4, first=0.01)) | to_list()
    handle = flow.start(commit=immediately)
    deadline = Deadline.after(SYSTEM_CLOCK, 60.0)
    while broker.committed("g") != {P0: 45, P1: 45} and handle.running and not deadline.expired:
        deadline.pause(0.01)
    assert sorted(handle.stop()) == sorted(values)
    assert broker.committed("g") == {P0: 45, P1: 45}
    assert task.calls == {value: 1 + times for value, times in task.times.items()}
