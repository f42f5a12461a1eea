"""Runs with an end, whose partitions come and go meanwhile. In virtual time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flowdsl import LocalBroker, sink
from flowdsl.brokers.local.client import LocalClient
from flowdsl.brokers.local.waiter import NoWait
from flowdsl.brokers.protocols import Delivery, Outgoing
from flowdsl.processing.bounds import LOOK_SECONDS, Bounds
from flowdsl.processing.loop import Loop
from flowdsl.stages.switch import Switch
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import IMMEDIATE, Partition
from tests.brokers.conftest import Reader
from tests.stages.rows import PLACES, Rows

TOPIC = "orders"


class Ends:
    """The part of a consumer that is asked where the logs end."""

    exhausted = is_beginning = False

    def __init__(self) -> None:
        self.length = 2
        self.told: dict[Partition, int] = {}
        self.asked = 0

    def ends(self, partitions: Collection[Partition] = PLACES[:1]) -> dict[Partition, int]:
        self.asked += 1
        return dict.fromkeys(partitions, self.length)

    def known_ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return {partition: self.told[partition] for partition in partitions if partition in self.told}


def to_the_end(*, at: int, clock: VirtualClock | None = None) -> tuple[Bounds, Any]:
    """A run up to offset 2 that was assigned one partition, and the consumer that it asks."""
    bounds, consumer = Bounds(clock or VirtualClock(), until="end"), Ends()
    bounds.begin(consumer)  # type: ignore[arg-type]  # all that is asked of it
    bounds.assigned({PLACES[0]: at})
    return bounds, consumer


def test_records_that_were_read_in_vain_do_not_count() -> None:
    """A member joins while this one works off what it has read: the rest is dropped, and others are read instead."""
    clock = VirtualClock()
    client = LocalClient(clock=clock, waiter=NoWait(), partitions=2)
    orders = [Outgoing(TOPIC, index % 2, None, b"%d" % index, (), None) for index in range(100)]
    client.producer().send(orders, Delivery())
    seen: list[bytes] = []

    def work(value: bytes) -> None:
        seen.append(value)
        clock.sleep(0.5)

    flow = LocalBroker().source(TOPIC, group_id="g") | sink(work)
    consumer = client.consumer(group_id="g")
    bounds = Bounds(clock, count=20)
    loop = Loop(consumer, [TOPIC], flow.compile(), clock=clock, switch=Switch(clock), policy=IMMEDIATE, bounds=bounds)
    loop.begin()
    loop.turn()
    other = Reader(client.consumer(group_id="g"), [TOPIC], commits=True)
    while not loop.is_over:
        other.read(limit=1)
        loop.turn()
    loop.end()
    assert len(seen) == len(set(seen)) == 20
    assert len(other.owned) == 1


def test_records_behind_the_end_are_left_out_also_where_positions_come_later() -> None:
    bounds, consumer = to_the_end(at=0)
    rows = [(PLACES[0], offset) for offset in range(4)]
    assert [bounds.within(Rows(rows, {})).place(index) for index in range(2)] == rows[:2]
    assert len(bounds.within(Rows(rows, {}))) == 2
    assert not bounds.are_reached(consumer, 2)
    assert bounds.within(Rows([], {PLACES[0]: 4})).positions == {PLACES[0]: 2}
    assert bounds.are_reached(consumer, 2)


def test_end_is_not_reached_while_partitions_are_about_to_begin() -> None:
    bounds, consumer = to_the_end(at=2)
    consumer.is_beginning = True
    assert not bounds.are_reached(consumer, 0)
    consumer.is_beginning = False
    assert bounds.are_reached(consumer, 0)


def test_end_is_where_a_log_ends_that_was_cut_meanwhile() -> None:
    """The broker tells of it by the way, and is asked then: what it told last may be out of date."""
    clock = VirtualClock()
    bounds, consumer = to_the_end(at=1, clock=clock)
    for told, length, asked, reached in ((2, 2, 1, False), (3, 3, 1, False), (1, 2, 2, False), (1, 1, 3, True)):
        consumer.told[PLACES[0]], consumer.length = told, length
        clock.sleep(LOOK_SECONDS)
        bounds.look(consumer)
        bounds.look(consumer)  # not so soon again
        assert consumer.asked == asked
        assert bounds.are_reached(consumer, 0) == reached
    consumer.told[PLACES[0]] = consumer.length = 3
    clock.sleep(LOOK_SECONDS)
    bounds.look(consumer)
    assert bounds.are_reached(consumer, 0)


def test_end_is_not_reached_by_a_partition_whose_log_is_shorter_than_what_was_committed() -> None:
    """The broker is about to say so, and the records that are there are to be read, or an error to be raised."""
    bounds, consumer = to_the_end(at=5)
    assert not bounds.are_reached(consumer, 0)
    consumer.told[PLACES[0]] = 4
    assert not bounds.are_reached(consumer, 0)
    consumer.told[PLACES[0]] = 5  # others wrote, and committed, since the end was asked for
    assert bounds.are_reached(consumer, 0)


def test_end_stays_reached_by_a_partition_that_was_read_beyond_it() -> None:
    """Its broker may be away by now, and tells nothing."""
    bounds, consumer = to_the_end(at=0)
    bounds.within(Rows([(PLACES[0], offset) for offset in range(4)], {PLACES[0]: 4}))
    assert bounds.are_reached(consumer, 2)
