"""How records are taken out of a client of Kafka: at once where they come one by one, some at a time where they come fast."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.kafka.supply import FIRST_READ, Supply
from flowdsl.testing import VirtualClock

READ = 0.0001
"""Seconds that a read and what is done with it take."""


class Paced:
    """The part of librdkafka's consumer that is used: records that come evenly, and ``backlog`` many from the start."""

    def __init__(self, clock: VirtualClock, per_second: int, backlog: int = 0) -> None:
        self._clock, self._per_second, self._backlog = clock, per_second, backlog
        self._given = 0

    def consume(self, limit: int, timeout: float) -> list[bytes]:
        assert timeout == 0
        due = self._backlog + int(self._clock() * self._per_second + 1e-6) - self._given
        self._given += min(limit, due)
        return [b"value"] * min(limit, due)

    def poll(self, timeout: float) -> bytes | None:
        self._clock.sleep(min(timeout, 1 / self._per_second))
        return next(iter(self.consume(1, 0)), None)


def reads(per_second: int, seconds: float, backlog: int = 0, patience: float = 0.1) -> list[int]:
    """How many records each read brought."""
    clock = VirtualClock()
    handle: Any = Paced(clock, per_second, backlog)
    supply, sizes = Supply(handle, Places(), clock), list[int]()
    while clock() < seconds:
        sizes.append(len(supply.take(2000, patience)))
        clock.sleep(READ)
    return sizes


@pytest.mark.parametrize("per_second", [100, 1000])
def test_records_that_come_slowly_are_taken_one_by_one(per_second: int) -> None:
    sizes = reads(per_second, 2.0)
    assert set(sizes) == {1}
    assert sum(sizes) == pytest.approx(2 * per_second, abs=2)


def test_records_that_come_fast_are_left_to_gather() -> None:
    sizes = reads(20_000, 2.0)
    assert sum(sizes) == pytest.approx(40_000, abs=200)
    assert len(sizes) < 2000, "not a read for every few records"


def test_what_follows_in_a_read_keeps_to_the_bytes_that_were_learnt() -> None:
    clock = VirtualClock()
    handle: Any = Paced(clock, 1, backlog=100_000)
    supply = Supply(handle, Places(), clock)
    supply.most = 7  # what fits, as records are
    assert len(supply.more(250)) == 7
    assert supply.most == 2 * FIRST_READ, "they were small, and not that much more is tried at once"


def test_a_backlog_is_not_waited_for() -> None:
    sizes = reads(20_000, 0.3, backlog=10_000_000)
    assert len(sizes) >= 0.3 / READ - 1
    assert sizes[-1] == 2000


def test_nothing_is_waited_for_where_the_loop_has_no_time() -> None:
    assert len(reads(20_000, 1.0, patience=0.0)) >= 1.0 / READ - 1


def test_errors_that_were_put_aside_are_not_dropped_with_the_records() -> None:
    """Librdkafka tells them once: of a partition whose gap nobody heard of nothing would come any more."""
    places = Places()
    records = [Message(topic="t", partition=index, offset=7) for index in (0, 1)]
    gap = Message(topic="t", partition=0, error=KafkaError(KafkaError._AUTO_OFFSET_RESET))
    handle: Any = Paced(VirtualClock(), 1)
    supply = Supply(handle, places, VirtualClock())
    supply.put_aside([records[0], gap, records[1]])
    assert supply.drop({places["t", 0]}) == [records[0]]
    assert supply.take(2, 0.0) == [gap, records[1]]
