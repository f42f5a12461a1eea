"""Where a run ends: after so many records, at what was the end when it began, or at a moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from flowdsl.brokers.protocols import Consumer
from flowdsl.clock import Clock, Deadline
from flowdsl.errors import BrokerUnreachable, RunTimeout
from flowdsl.records import Records
from flowdsl.types import Partition, Record

Until = Literal["end"] | datetime | None

LOOK_SECONDS = 1.0
"""How often a bounded run looks whether the logs still are as long as they were."""
WITHOUT_PARTITIONS = 5.0
"""Seconds after which a bounded run ends that was assigned no partition: others have them all."""


class Chosen(Records):
    """Some records of a read, in their order."""

    __slots__ = ("_indexes", "_read")

    def __init__(self, read: Records, indexes: Sequence[int], positions: Mapping[Partition, int]) -> None:
        super().__init__(positions)
        self._read, self._indexes = read, indexes

    def __len__(self) -> int:
        return len(self._indexes)

    @property
    def payload(self) -> list[Any]:
        values = self._read.payload
        return [values[index] for index in self._indexes]

    def place(self, index: int) -> tuple[Partition, int]:
        return self._read.place(self._indexes[index])

    def record(self, index: int) -> Record[Any]:
        return self._read.record(self._indexes[index])

    def window(self, start: int, stop: int) -> Records:
        indexes = self._indexes[start:stop]
        return Chosen(self._read, indexes, self.positions if stop >= len(self) else {})


class Bounds:
    """The end of one run."""

    def __init__(self, clock: Clock, *, count: int | None = None, until: Until = None) -> None:
        self._clock = clock
        self.is_bounded = count is not None or until is not None
        self._given = {"count": count, "until": until}
        self._count = count
        self._until = until
        self._ends: Mapping[Partition, int] | None = None
        self._positions: dict[Partition, int] = {}
        self._was_assigned = False
        self._unread: set[Partition] = set()
        """Assigned, and not read since: nobody knows whether their logs are those that were committed for."""
        self._next_look = Deadline(clock, 0.0)
        self._without_since: float | None = None
        self.total: int | None = count
        """How many records there are to read in all, where that is known."""

    def begin(self, consumer: Consumer) -> None:
        """Ask for the ends, once they are known."""
        if self._until is None or self._ends is not None:
            return
        if isinstance(self._until, datetime):
            if self._clock.utc() < self._until:
                return
            self._ends = consumer.offsets_at(self._until)
        else:
            self._ends = consumer.ends()

    def look(self, consumer: Consumer) -> None:
        """In mid-run: ask for the ends once they are known, and then for those of logs that were cut. A broker that is away
        is waited for: it is asked again later.
        """
        if self._until is None:
            return
        with suppress(BrokerUnreachable):
            if self._ends is None:
                self.begin(consumer)
            elif self._next_look.expired:
                self._next_look = Deadline.after(self._clock, LOOK_SECONDS)
                self._ends = {**self._ends, **self._cut(consumer, self._ends)}

    def _cut(self, consumer: Consumer, ends: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """Where logs end that were cut meanwhile. What the broker told last may be out of date: it is asked then."""
        awaited = [p for p, offset in self._positions.items() if offset < ends.get(p, 0)]
        shorter = [p for p, end in consumer.known_ends(awaited).items() if end < ends[p]]
        now = (consumer.ends(shorter) if shorter else None) or {}
        return {p: end for p, end in now.items() if end < ends[p]}

    def assigned(self, partitions: Mapping[Partition, int]) -> None:
        """These were added: none, where the group has nothing for this member. Joining may take as long as it likes."""
        self._was_assigned = True
        self._positions.update(partitions)
        self._unread.update(partitions)
        if self._ends is not None:
            waiting = sum(max(0, end - partitions[p]) for p, end in self._ends.items() if p in partitions)
            self.total = waiting + (self.total or 0) if self._count is None else self.total

    def moved(self, offsets: Mapping[Partition, int]) -> None:
        """The reader was sent there."""
        self._positions.update(offsets)

    def released(self, partitions: Collection[Partition]) -> None:
        self._unread.difference_update(partitions)
        for partition in partitions:
            self._positions.pop(partition, None)

    def limit(self, wanted: int, taken: int) -> int:
        """How many records may be read now, of which so many were taken by pipelines.

        Those that were read and not taken do not count: after a rebalance they are read again, or are somebody else's.
        """
        return wanted if self._count is None else min(wanted, self._count - taken)

    def within(self, records: Records) -> Records:
        """Those of the records that are before the end; notes where the reader stands."""
        self._positions.update(records.positions)
        self._unread.difference_update(records.positions)
        ends = self._ends
        if ends is not None and _go_beyond(records, ends):
            inside = [
                i for i in range(len(records)) for p, offset in (records.place(i),) if offset < ends.get(p, offset + 1)
            ]
            positions = {p: min(offset, ends.get(p, offset)) for p, offset in records.positions.items()}
            records = Chosen(records, inside, positions)
        return records

    def missed(self, seconds: float | None, done: int) -> RunTimeout:
        """The error of a run whose time was up before."""
        given = " or ".join(f"{name}={value}" for name, value in self._given.items() if value is not None)
        return RunTimeout(
            f"the run did not come to its end within {seconds} s ({given}): {done} record{'' if done == 1 else 's'} "
            f"{'is' if done == 1 else 'are'} done; what is done is committed, and the next run goes on from there"
        )

    def are_reached(self, consumer: Consumer, taken: int) -> bool:
        """Whether all there is to read was read, and so many of it were taken."""
        if taken == self._count or consumer.exhausted:
            return True
        if self._ends is None or consumer.is_beginning:
            return False
        if not self._was_assigned:
            return not self._ends
        if not self._positions:
            self._without_since = self._without_since or self._clock()
            return self._clock() - self._without_since >= WITHOUT_PARTITIONS
        self._without_since = None
        ends = self._ends
        if any(offset < ends.get(partition, 0) for partition, offset in self._positions.items()):
            return False
        behind = {p for p in self._unread if self._positions[p] > ends.get(p, self._positions[p])}
        known = consumer.known_ends(behind)  # a log that is shorter is not the one that was committed for: a read tells
        return all(known.get(partition, -1) >= self._positions[partition] for partition in behind)


def _go_beyond(records: Records, ends: Mapping[Partition, int]) -> bool:
    """Whether some of the records may be behind the end. Positions may come with a later read than the records."""
    if records.positions:
        return any(offset > ends.get(p, offset) for p, offset in records.positions.items())
    return any(offset >= ends.get(p, offset + 1) for p, offset in map(records.place, range(len(records))))
