"""When may an offset be committed? This file answers.

Every accepted record has a number, in the order of arrival. Stages report marks: all records below a mark are done. The
ledger turns the highest mark into offsets when somebody asks for them, so that progress costs nothing per record.
"""

from __future__ import annotations

from collections import Counter, deque

from flowdsl.records import Extent, Records
from flowdsl.types import Partition

MOST_APART = 10_000
"""How far records may run ahead of the oldest one whose offset is held back, while others are done."""
RETAINED = 50_000
"""So many records under way, the last, are known with the exact place of each; of older ones only where their read ended."""


class _Entry:
    """Where the records of one window are."""

    __slots__ = ("extent", "first", "positions", "stop")

    def __init__(self, first: int, extent: Extent) -> None:
        self.first, self.stop = first, first + len(extent)
        self.extent: Extent | None = extent
        self.positions = extent.positions


class Ledger:
    """The records of one assignment, from their acceptance until they are done."""

    def __init__(self) -> None:
        self.accepted = 0
        self._reached = 0
        self._held: Counter[int] = Counter()
        self._entries: deque[_Entry] = deque()
        self._exact: deque[_Entry] = deque()
        self._passed: list[Extent] = []
        self._offsets: dict[Partition, int] = {}

    def accept(self, records: Records) -> int:
        """Number these records; returns the number of the first."""
        entry = _Entry(self.accepted, records.extent())
        self.accepted = entry.stop
        self._entries.append(entry)
        self._exact.append(entry)
        while len(self._exact) > 1 and self.accepted - self._exact[0].first > RETAINED:
            self._exact.popleft().extent = None
        return entry.first

    def advance(self, mark: int) -> None:
        """All records below ``mark`` are done."""
        self._reached = max(self._reached, mark)
        self._pop_done()

    def hold(self, number: int) -> None:
        """Keep the offset of this record back until it is released as often as it was held."""
        self._held[number] += 1

    def release(self, number: int) -> None:
        self._held[number] -= 1
        if not self._held[number]:
            del self._held[number]
        self._pop_done()

    @property
    def done(self) -> int:
        """All records below this number are done."""
        return min(self._reached, *self._held) if self._held else self._reached

    @property
    def in_flight(self) -> int:
        """How many records were accepted and are not done."""
        return self.accepted - self.done

    @property
    def is_stretched(self) -> bool:
        """Whether no more should be accepted until the offsets that are held back move."""
        return bool(self._held) and self.in_flight >= MOST_APART

    def committable(self) -> dict[Partition, int]:
        """The next offset to read of each partition of which something is done."""
        self._pop_done()  # a read that brought a position and no records is done as soon as what came before it is
        self._tell_passed()
        offsets = dict(self._offsets)
        if self._entries:
            first = self._entries[0]
            if first.extent is not None and self.done > first.first:
                offsets.update(first.extent.committable_below(self.done - first.first))
        return offsets

    def unfinished(self) -> set[Partition] | None:
        """The partitions of the records that were accepted and are not done; None where that is not known any more."""
        found = set[Partition]()
        for entry in self._entries:
            if entry.extent is None:
                return None
            undone = range(max(0, self.done - entry.first), len(entry.extent))
            found.update(entry.extent.place(index)[0] for index in undone)
        return found

    def oldest(self) -> tuple[Partition, int] | None:
        """Partition and offset of the oldest record that is not done, where it is still known."""
        for entry in self._entries:
            if entry.extent is not None and entry.stop > self.done:
                return entry.extent.place(max(0, self.done - entry.first))
        return None

    def _pop_done(self) -> None:
        done, entries = self.done, self._entries
        while entries and entries[0].stop <= done:
            entry = entries.popleft()
            if self._exact and self._exact[0] is entry:
                self._exact.popleft()
            if entry.positions:
                self._tell_passed()  # a read may bring records, and their positions come with a later one, or never
                self._offsets.update(entry.positions)
            elif entry.extent is not None:
                self._passed.append(entry.extent)

    def _tell_passed(self) -> None:
        for extent in self._passed:
            self._offsets.update(extent.committable)
        self._passed.clear()
