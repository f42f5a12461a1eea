"""``retry``: a record that fails is set aside and tried again; its partition waits behind it, and nothing else does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from flowdsl import (
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    batch,
    dead_letter,
    filter_,
    from_iterable,
    immediately,
    map_,
    retry,
    sink,
    tap,
    to_list,
)
from flowdsl.testing import Driver

BROKER = LocalBroker()


def orders() -> Any:
    return BROKER.source("orders", group_id="g")


class Flaky:
    """Fails so many times for some values; notes every call."""

    def __init__(self, times: dict[bytes, int], error: type[Exception] = ValueError) -> None:
        self.times, self.error = times, error
        self.calls: Counter[bytes] = Counter()

    def __call__(self, value: bytes) -> bytes:
        self.calls[value] += 1
        if self.calls[value] <= self.times.get(value, 0):
            raise self.error(value)
        return value


def nothing(_: object) -> None:
    """A sink."""


def place(partition: int) -> Partition:
    return Partition(Topic("orders"), partition)


def test_the_same_record_is_tried_again_after_the_wait_and_order_is_kept():
    flaky = Flaky({b"b": 2})
    driver = Driver(
        orders() | map_(flaky, on_error=retry(3, first=1.0, jitter=False)) | sink(nothing), commit=immediately
    )
    for value in (b"a", b"b", b"c"):
        driver.send(value)
    driver.run_until_idle()
    assert driver.outputs == [b"a"]
    assert driver.committed == {place(0): 1}
    driver.advance(0.99)
    assert flaky.calls[b"b"] == 1
    driver.advance(0.02)
    assert flaky.calls[b"b"] == 2
    driver.advance(1.9)
    assert driver.outputs == [b"a"]
    driver.advance(0.2)
    assert driver.outputs == [b"a", b"b", b"c"]
    assert driver.committed == {place(0): 3}
    assert flaky.calls == {b"a": 1, b"b": 3, b"c": 1}
    driver.close()


def test_other_partitions_go_on_and_nothing_is_committed_past_the_record():
    flaky = Flaky({b"bad": 1})
    flow = orders() | map_(flaky, on_error=retry(2, first=5.0, jitter=False)) | sink(nothing)
    driver = Driver(flow, commit=immediately)
    driver.send(b"a", partition=0)
    driver.send(b"bad", partition=0)
    driver.send(b"behind", partition=0)
    driver.run_until_idle()
    for number in range(5):
        driver.send(b"other %d" % number, partition=1)
    driver.run_until_idle()
    assert driver.outputs == [b"a", *(b"other %d" % number for number in range(5))]
    driver.advance(5.1)
    assert driver.outputs[-2:] == [b"bad", b"behind"]
    assert driver.committed == {place(0): 3, place(1): 5}
    driver.close()


def test_the_last_attempt_stops_the_run_and_tells_how_many_there_were():
    flaky = Flaky({b"b": 9})
    driver = Driver(orders() | map_(flaky, on_error=retry(3, first=0.1)) | sink(nothing), commit=immediately)
    for value in (b"a", b"b", b"c"):
        driver.send(value)
    driver.run_until_idle()
    with pytest.raises(StepFailed) as failed:
        driver.advance(10)
    assert failed.value.attempts == 3
    assert failed.value.offset == 1
    assert flaky.calls[b"b"] == 3
    assert driver.outputs == [b"a"]
    assert driver.committed == {place(0): 1}


@pytest.mark.parametrize("of_run", [False, True])
def test_then_skip_goes_on_behind_the_record(of_run: bool):
    flaky = Flaky({b"b": 9})
    policy = retry(2, first=0.5, then="skip")
    flow = orders() | map_(flaky, on_error=None if of_run else policy) | sink(nothing)
    driver = Driver(flow, on_error=policy if of_run else "stop", commit=immediately)
    for value in (b"a", b"b", b"c"):
        driver.send(value)
    driver.advance(2)
    assert driver.outputs == [b"a", b"c"]
    assert driver.committed == {place(0): 3}
    driver.close()


@pytest.mark.parametrize("of_run", [False, True])
def test_then_a_dead_letter_tells_the_attempts(of_run: bool):
    flaky = Flaky({b"b": 9})
    policy = retry(4, first=0.5, then=dead_letter(BROKER.sink("dead")))
    flow = orders() | map_(flaky, on_error=None if of_run else policy) | sink(nothing)
    driver = Driver(flow, on_error=policy if of_run else "stop", commit=immediately)
    for value in (b"a", b"b", b"c"):
        driver.send(value)
    driver.advance(10)
    driver.close()
    (letter,) = driver.dead_letters
    assert dict(letter.headers)["flowdsl-attempts"] == b"4"
    assert driver.committed == {place(0): 3}


def test_an_error_that_is_not_among_those_worth_it_is_not_tried_again():
    flaky = Flaky({b"b": 9}, KeyError)
    driver = Driver(orders() | map_(flaky, on_error=retry(5, only=OSError, then="skip")) | sink(nothing))
    driver.send(b"b")
    driver.run_until_idle()
    assert flaky.calls[b"b"] == 1
    driver.close()


def test_waits_double_up_to_the_most_and_jitter_shortens_them():
    flaky = Flaky({b"b": 9})
    flow = orders() | map_(flaky, on_error=retry(6, first=1.0, most=3.0, jitter=False, then="skip")) | sink(nothing)
    driver = Driver(flow)
    driver.send(b"b")
    moments: list[float] = []
    for _ in range(1300):
        driver.advance(0.01)
        if flaky.calls[b"b"] > len(moments):
            moments.append(round(driver.clock(), 1))
    assert moments == [0.0, 1.0, 3.0, 6.0, 9.0, 12.0]
    driver.close()


def test_a_group_that_fails_sets_all_its_partitions_aside():
    tries = []

    def store(rows: list[bytes]) -> None:
        tries.append(list(rows))
        if len(tries) == 1:
            raise OSError

    flow = orders() | batch(2) | sink(store, on_error=retry(2, first=1.0, jitter=False))
    driver = Driver(flow, commit=immediately)
    driver.send(b"a", partition=0)
    driver.send(b"b", partition=1)
    driver.run_until_idle()
    driver.send(b"c", partition=1)
    driver.send(b"d", partition=1)
    driver.run_until_idle()
    assert tries == [[b"a", b"b"]]
    driver.advance(1.1)
    assert tries == [[b"a", b"b"], [b"a", b"b"], [b"c", b"d"]]
    assert driver.committed == {place(0): 1, place(1): 3}
    driver.close()


def test_a_write_that_fails_is_repeated_as_a_whole():
    class Table:
        def __init__(self) -> None:
            self.tries: list[list[bytes]] = []

        def write(self, rows: Any) -> None:
            self.tries.append(list(rows))
            if len(self.tries) == 1:
                raise OSError

    table = Table()
    driver = Driver(orders() | sink(table, on_error=retry(2, first=1.0)), commit=immediately)
    driver.send(b"a")
    driver.advance(2)
    assert table.tries == [[b"a"], [b"a"]]
    assert driver.committed == {place(0): 1}
    driver.close()


def test_what_is_tried_again_at_once_in_two_steps_keeps_the_order_of_a_partition():
    before, behind = Flaky({b"b": 1}), Flaky({b"a": 2})
    flow = (
        orders()
        | map_(before, on_error=retry(3, first=1.5, jitter=False))
        | tap(behind, on_error=retry(5, first=1.0, most=1.0, jitter=False))
        | sink(nothing)
    )
    driver = Driver(flow, commit=immediately)
    driver.send(b"a")
    driver.run_until_idle()
    driver.advance(0.5)
    driver.send(b"b")
    driver.send(b"c")
    driver.run_until_idle()
    assert (before.calls[b"b"], behind.calls[b"a"]) == (1, 1)
    driver.advance(0.5)  # the first fails again, and is set aside behind the second
    assert behind.calls[b"a"] == 2
    driver.advance(1.0)  # now both are due
    assert driver.outputs == [b"a", b"b", b"c"]
    assert driver.committed == {place(0): 3}
    driver.close()


def test_steps_behind_and_before_keep_the_order_of_a_partition():
    before, behind = Flaky({b"p0 3": 2, b"p1 1": 1}), Flaky({b"p0 1": 1, b"p1 4": 3})
    flow = (
        orders()
        | map_(before, on_error=retry(5, first=0.3))
        | filter_(lambda value: not value.endswith(b"2"))
        | tap(behind, on_error=retry(5, first=0.5))
        | sink(nothing)
    )
    driver = Driver(flow, commit=immediately)
    for number in range(6):
        for partition in (0, 1):
            driver.send(b"p%d %d" % (partition, number), partition=partition)
        driver.advance(0.05)
    driver.advance(60)
    for name in (b"p0", b"p1"):
        assert [value for value in driver.outputs if value.startswith(name)] == [
            b"%s %d" % (name, number) for number in (0, 1, 3, 4, 5)
        ]
    assert driver.committed == {place(0): 6, place(1): 6}
    driver.close()


def test_what_waits_to_be_tried_again_holds_up_no_rebalance():
    flaky = Flaky({b"b": 9})
    driver = Driver(orders() | map_(flaky, on_error=retry(9, first=60.0)) | sink(nothing), commit=immediately)
    for value in (b"a", b"b", b"c"):
        driver.send(value)
    driver.run_until_idle()
    before = driver.clock()
    driver.revoke(0)
    assert driver.clock() - before < 1
    assert driver.committed == {place(0): 1}
    driver.assign(0)
    flaky.times.clear()
    driver.run_until_idle()
    assert driver.outputs == [b"a", b"b", b"c"]
    driver.close()


def test_a_bounded_run_waits_for_the_attempts():
    flaky = Flaky({b"1": 1, b"4": 2})
    values = [b"%d" % n for n in range(9)]
    assert (from_iterable(values) | map_(flaky, on_error=retry(3, first=0.05)) | to_list()).run() == values


@pytest.mark.parametrize(
    "order", [{}, {"ordered": False}, {"key": lambda value: value}], ids=["ordered", "unordered", "key"]
)
@pytest.mark.parametrize("make", ["thread", "coroutine"])
def test_a_concurrent_step_tries_again_too(order: dict[str, Any], make: str):
    flaky = Flaky({b"1": 1, b"4": 2})

    async def later(value: bytes) -> bytes:
        await asyncio.sleep(0)
        return flaky(value)

    function: Callable[[bytes], Any] = flaky if make == "thread" else later
    values = [b"%d" % n for n in range(9)]
    flow = from_iterable(values) | map_(function, concurrency=3, on_error=retry(3, first=0.02), **order) | to_list()
    results: list[Any] = flow.run()
    assert sorted(results) == values
    if not order:
        assert results == values
    assert flaky.calls == {value: 1 + flaky.times.get(value, 0) for value in values}


WRONG: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (TypeError, "attempts", {"attempts": "3"}),
    (ValueError, "attempts", {"attempts": 0}),
    (ValueError, "first", {"attempts": 3, "first": -1}),
    (TypeError, "most", {"attempts": 3, "most": "long"}),
    (TypeError, "only", {"attempts": 3, "only": "OSError"}),
    (TypeError, "only", {"attempts": 3, "only": ()}),
    (ValueError, "then", {"attempts": 3, "then": "retry"}),
    (ValueError, "then", {"attempts": 3, "then": retry(2)}),
]


@pytest.mark.parametrize(("kind", "name", "given"), WRONG)
def test_wrong_arguments_are_refused_by_name(kind: type[Exception], name: str, given: dict[str, Any]):
    with pytest.raises(kind, match=name):
        retry(**given)


def test_policies_compare_by_what_they_say():
    assert retry(3) == retry(3)
    assert retry(3) != retry(4)


def test_what_is_tried_again_completes_what_passed_it_also_when_its_dead_letter_has_to_wait():
    flaky = Flaky({b"bad": 9, b"worse": 9})
    policy = retry(2, first=1.0, jitter=False, then=dead_letter(BROKER.sink("dead", name="dead")))
    with Driver(orders() | map_(flaky, on_error=policy) | sink(nothing), commit=immediately) as driver:
        driver.send(b"bad", partition=0)
        driver.send(b"worse", partition=1)
        driver.send(b"good", partition=2)
        driver.run_until_idle()
        for _ in range(4):
            driver.reject_next("dead")
        driver.advance(5.0)
        assert [record.value for record in driver.dead_letters] == [b"bad", b"worse"]
        assert driver.committed == {place(0): 1, place(1): 1, place(2): 1}
