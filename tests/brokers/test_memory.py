from __future__ import annotations

import gc
import weakref
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from flowdsl.brokers.iterating import PIECE
from flowdsl.brokers.memory import MemoryConsumer, MemoryRecords
from flowdsl.errors import BrokerError
from flowdsl.stages.switch import Switch
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import Partition, Record, Topic


class Listener:
    def __init__(self) -> None:
        self.owned: dict[Partition, int] = {}

    def assigned(self, partitions: Mapping[Partition, int]) -> None:
        self.owned.update(partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        raise AssertionError(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        raise AssertionError(partitions)


def at(index: int) -> Partition:
    return Partition(Topic(""), index)


def consumer_of(*iterables: Any, clock: VirtualClock | None = None, switch: Switch | None = None) -> MemoryConsumer:
    clock = clock or VirtualClock()
    consumer = MemoryConsumer(iterables, switch or Switch(clock), clock=clock)
    consumer.subscribe([], Listener())
    return consumer


def drained(consumer: MemoryConsumer, limit: int = 100) -> list[Any]:
    values: list[Any] = []
    while not consumer.exhausted:
        values += consumer.read(limit, 0.0).payload
    return values


def test_everything_is_read_once_and_then_it_is_exhausted() -> None:
    assert drained(consumer_of(range(1000))) == list(range(1000))


def test_exhausted_source_reads_nothing_more() -> None:
    consumer = consumer_of([1])
    drained(consumer)
    records = consumer.read(10, 0.0)
    assert (len(records), records.positions) == (0, {})


def test_records_have_no_topic_and_count_from_zero() -> None:
    consumer = consumer_of(["a", "b"])
    first, second = consumer.read(1, 0.0), consumer.read(1, 0.0)
    assert first.record(0) == Record("", 0, 0, None, "a")
    assert second.record(0) == Record("", 0, 1, None, "b")
    assert second.place(0) == (at(0), 1)
    assert second.positions == {at(0): 2}


def test_several_iterables_are_read_in_turn_and_told_apart() -> None:
    consumer = consumer_of("abc", count())
    listener = Listener()
    consumer.subscribe([], listener)
    reads = [consumer.read(1, 0.0) for _ in range(6)]
    assert listener.owned == {at(0): 0, at(1): 0}
    assert [(records.place(0)[0].index, records.payload[0]) for records in reads] == [
        (0, "a"), (1, 0), (0, "b"), (1, 1), (0, "c"), (1, 2),
    ]  # fmt: skip
    assert {records.record(0).partition for records in reads} == {0}


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
@pytest.mark.parametrize("good", range(5))
def test_error_of_an_iterator_surfaces_after_the_values_before_it(error: BaseException, good: int) -> None:
    def values() -> Iterator[int]:
        yield from range(good)
        raise error

    consumer = consumer_of(values())
    read: list[int] = []
    while len(read) < good:
        read += consumer.read(100, 0.0).payload
    with pytest.raises(type(error)):
        consumer.read(100, 0.0)
    assert read == list(range(good))
    assert not consumer.exhausted


def test_iterator_is_asked_lazily_and_never_for_more_than_the_limit() -> None:
    asked: list[int] = []

    def values() -> Iterator[int]:
        for number in range(10**9):
            asked.append(number)
            yield number

    consumer = consumer_of(values())
    read = [value for _ in range(20) for value in consumer.read(64, 0.0).payload]
    assert asked == read == list(range(len(read)))


def test_slow_iterator_is_read_one_by_one() -> None:
    clock = VirtualClock()

    def values() -> Iterator[int]:
        for number in range(30):
            clock.advance(1.0)
            yield number

    consumer = consumer_of(values(), clock=clock)
    assert [len(consumer.read(500, 0.0)) for _ in range(10)] == [1] * 10


def test_iterator_that_turns_slow_holds_few_of_the_values_before_back() -> None:
    clock = VirtualClock()

    def values() -> Iterator[int]:
        yield from range(300)
        for number in range(300, 10**9):
            clock.advance(1.0)
            yield number

    consumer = consumer_of(values(), clock=clock)
    read = 0
    while read < 300:
        read += len(consumer.read(2000, 0.0))
    assert clock() <= PIECE
    assert [len(consumer.read(2000, 0.0)) for _ in range(10)] == [1] * 10


def test_stop_ends_a_read_with_the_value_in_hand() -> None:
    switch = Switch(VirtualClock())

    def values() -> Iterator[int]:
        for number in range(10**9):
            if number == 300:
                switch.stop()
            yield number

    consumer = consumer_of(values(), switch=switch)
    read: list[int] = []
    while not switch.stopping:
        read += consumer.read(2000, 0.0).payload
    assert read == list(range(301))
    assert (len(consumer.read(2000, 0.0)), consumer.exhausted) == (0, False)


def test_fast_iterator_is_read_up_to_the_limit() -> None:
    consumer = consumer_of(count())
    assert [len(consumer.read(500, 0.0)) for _ in range(12)][-1] == 500


def test_paused_iterable_waits() -> None:
    consumer = consumer_of("ab", "xy")
    consumer.pause([at(0)])
    assert [consumer.read(1, 0.0).payload for _ in range(2)] == [["x"], ["y"]]
    consumer.resume([at(0)])
    assert drained(consumer) == ["a", "b"]


def test_window_is_a_plain_slice() -> None:
    consumer = consumer_of(range(8))
    consumer.read(1, 0.0)
    consumer.read(2, 0.0)
    records = consumer.read(4, 0.0)
    window = records.window(1, 3)
    assert (window.payload, window.place(0), window.positions) == ([4, 5], (at(0), 4), {})
    assert window.committable == window.extent().committable == {at(0): 6}
    assert records.window(1, 4).positions == records.positions == {at(0): 7}


def test_values_cannot_be_read_again() -> None:
    consumer = consumer_of([1, 2])
    consumer.read(2, 0.0)
    consumer.seek({at(0): 1})
    with pytest.raises(BrokerError, match="once"):
        consumer.seek({at(0): 0})


def test_commits_are_refused() -> None:
    consumer = consumer_of([1])
    answers: list[BrokerError | None] = []
    consumer.commit({at(0): 1}, answers.append)
    assert not consumer.commits
    assert isinstance(answers[0], BrokerError)


def test_windows_of_windows_are_plain_slices_wherever_their_list_is() -> None:
    values = list(range(100))
    whole = MemoryRecords(values, 7, Partition(Topic(""), 0), {at(0): 107})
    for start in range(0, 100, 9):
        for stop in range(start, 101, 7):
            window = whole.window(start, stop)
            inner = window.window(1, len(window) + 5)
            assert window.payload == values[start:stop]
            assert inner.payload == values[start + 1 : stop]
            assert bool(inner.positions) == (stop == 100)
            if len(inner):
                assert inner.record(len(inner) - 1).value == values[stop - 1]
                assert inner.place(0) == inner.extent().place(0) == (at(0), 7 + start + 1)
            extent = inner.extent()
            assert (len(extent), extent.committable) == (len(inner), {at(0): 7 + stop} if len(inner) else {})


def test_window_of_few_records_does_not_keep_its_read_alive() -> None:
    class Value:
        pass

    values = [Value() for _ in range(100)]
    first = weakref.ref(values[0])
    whole = MemoryRecords(values, 0, Partition(Topic(""), 0), {})
    few, many = whole.window(50, 52), whole.window(50, 100)
    del values, whole
    assert first() is not None
    del many
    gc.collect()
    assert first() is None
    assert len(few.payload) == 2
