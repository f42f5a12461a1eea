"""A read that asks for values only takes messages bit by bit: what changes hands between two bits is not in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from confluent_kafka import Message, TopicPartition

from flowdsl.brokers.kafka.assignment import Assignment
from flowdsl.brokers.kafka.commits import Epochs
from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.kafka.reading import AT_ONCE, Reading
from flowdsl.brokers.kafka.records import KafkaRecords
from flowdsl.brokers.kafka.supply import Supply
from flowdsl.brokers.kafka.trouble import Trouble
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.types import Partition, Topic

PLACES = Places()
FIRST, SECOND = PLACES["t", 0], PLACES["t", 1]
TURN = AT_ONCE * 6 // 5
"""So some bits are of one partition and others of two."""


class Log:
    """The part of librdkafka's consumer that is used: a log of records, in turns of ``TURN`` from each of two partitions.

    ``before[n]`` happens within the n-th call of ``consume``, as rebalances do.
    """

    def __init__(self, records: int) -> None:
        self._rows = sorted((offset // TURN, number, offset) for number in (0, 1) for offset in range(records // 2))
        self._next = {0: -1001, 1: -1001, 2: -1001}
        self._calls = 0
        self.before: dict[int, Callable[[], None]] = {}

    def consume(self, limit: int, timeout: float) -> list[Any]:
        assert timeout == 0
        self._calls += 1
        self.before.get(self._calls, lambda: None)()
        taken, self._rows = self._rows[:limit], self._rows[limit:]
        for _, number, offset in taken:
            self._next[number] = offset + 1
        return [
            Message(topic="t", partition=number, offset=offset, value=b"%d" % offset) for _, number, offset in taken
        ]

    def position(self, asked: Sequence[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition("t", each.partition, self._next[each.partition]) for each in asked]

    def poll(self, timeout: float) -> None:
        """Nothing comes any more."""

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None: ...

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        gone = {each.partition for each in partitions}
        self._rows = [row for row in self._rows if row[1] not in gone]


def reader(log: Any) -> tuple[Callable[[int], KafkaRecords], Assignment]:
    weather: Any = Weather(None)
    assignment = Assignment(log, Epochs(), whole=False)
    assignment.add({FIRST: 0, SECOND: 0})
    assignment.moved.clear()
    supply = Supply(log, PLACES)
    supply.most = 2000  # as it is once records are known to be small
    asker: Any = SimpleNamespace(name="a Kafka")
    trouble = Trouble(asker, assignment, weather, "fail", in_group=True)
    reading = Reading(supply, assignment, trouble, weather, values_only=True)
    membership: Any = SimpleNamespace(error=None, waiting=set[Partition](), unresolved=())
    return lambda limit: reading.read(membership, ("t",), limit, 0.0), assignment


def places(records: KafkaRecords) -> list[tuple[int, int]]:
    return [(partition.index, offset) for partition, offset in map(records.place, range(len(records)))]


def read_all(read: Callable[[int], KafkaRecords]) -> tuple[list[tuple[int, int]], dict[Partition, int]]:
    """What all reads bring, and where the consumer stands after them."""
    found: list[tuple[int, int]] = []
    positions: dict[Partition, int] = {}
    quiet = 0
    while quiet < 2:
        records = read(2000)
        found += places(records)
        positions.update(records.positions)
        quiet = 0 if len(records) else quiet + 1
    return found, positions


def test_bits_are_one_read() -> None:
    log = Log(3000)
    read, _ = reader(log)
    found, positions = read_all(read)
    assert sorted(found) == [(number, offset) for number in (0, 1) for offset in range(1500)]
    assert [each for each in found if each[0] == 1] == [(1, offset) for offset in range(1500)], "in order"
    assert positions == {FIRST: 1500, SECOND: 1500}


def test_partition_that_goes_between_two_bits_is_not_in_the_read_and_the_others_lose_nothing() -> None:
    bits = 4
    for call in range(1, bits + 2):
        log = Log(bits * AT_ONCE)
        read, assignment = reader(log)
        log.before[call] = lambda assignment=assignment: assignment.remove([SECOND])  # type: ignore[misc]
        first = places(read(bits * AT_ONCE))
        found = first + read_all(read)[0]
        assert [place for place in found if place[0] == 0] == [(0, offset) for offset in range(2 * AT_ONCE)], call
        assert any(number == 1 for number, _ in first) == (call > bits)


def test_partition_that_comes_between_two_bits_begins_where_it_is_assigned() -> None:
    topic = Partition(Topic("t"), 2)
    log = Log(3000)
    read, assignment = reader(log)
    log.before[3] = lambda: assignment.add({topic: 7})
    assert {number for number, _ in read_all(read)[0]} == {0, 1}
    assert assignment.positions[topic] == 7
