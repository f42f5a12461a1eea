"""Reading what is in a topic now, without a group and without committing anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from flowdsl.brokers.protocols import Consumer
from flowdsl.clock import Clock, Deadline
from flowdsl.errors import BrokerUnreachable
from flowdsl.types import Partition, Record

LIMIT = 1000
PATIENCE = 10.0
"""Seconds without any progress after which the broker is taken to be out of reach."""


class _Positions:
    """A listener that only notes where reading stands."""

    def __init__(self) -> None:
        self.at: dict[Partition, int] = {}

    def assigned(self, partitions: Mapping[Partition, int]) -> None:
        self.at.update(partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self.at.pop(partition, None)

    def lost(self, partitions: Collection[Partition]) -> None:
        self.revoked(partitions)


def read(consumer: Consumer, topic: str, count: int | None, clock: Clock) -> list[Record[Any]]:
    """The records of a topic up to its present end, or the first ``count``, in the order of partition and offset."""
    positions = _Positions()
    consumer.subscribe([topic], positions)
    open_ends = dict(consumer.ends() or {})
    found: dict[Partition, list[Record[Any]]] = {partition: [] for partition in open_ends}
    deadline = Deadline.after(clock, PATIENCE)
    while open_ends:
        records = consumer.read(LIMIT, 0.1)
        for index in range(len(records)):
            partition, offset = records.place(index)
            if offset < open_ends.get(partition, 0):
                found[partition].append(records.record(index))
        positions.at.update(records.positions)
        for partition in [p for p, end in open_ends.items() if _is_done(positions.at.get(p), end, found[p], count)]:
            del open_ends[partition]
            consumer.pause([partition])
        if len(records) or records.positions:
            deadline = Deadline.after(clock, PATIENCE)
        elif deadline.expired and open_ends:
            missing = ", ".join(map(str, sorted(open_ends)))
            msg = f"nothing came from {missing} for {PATIENCE:g} seconds, though there is more to read. Is the broker running?"
            raise BrokerUnreachable(msg)
    return [record for partition in sorted(found) for record in found[partition]][:count]


def _is_done(position: int | None, end: int, found: list[Record[Any]], count: int | None) -> bool:
    return (position is not None and position >= end) or (count is not None and len(found) >= count)
