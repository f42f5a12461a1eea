"""What a stage accepted and has not finished, whatever order it ends in: where each value came from, and how far it is.

The mark of what leaves is never above the lowest record that stays: that is all that out-of-order work needs to know of
offsets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from flowdsl.chunks import Chunk
from flowdsl.origins import Member, Origins, lowest_from
from flowdsl.reactive.workers import Outlet, Task
from flowdsl.stages.failures import Failure
from flowdsl.types import Partition

_LOT: Final = attrgetter("lot")
_INDEX: Final = attrgetter("index")


class Lot:
    """A chunk as it was accepted, and which of its values are finished. ``number``: how many values came before it.
    ``opened``: how many of its values have entries.
    """

    __slots__ = ("_first", "chunk", "finished", "left", "number", "opened")

    def __init__(self, chunk: Chunk[Any], number: int) -> None:
        self.chunk, self.number = chunk, number
        self.left = len(chunk)
        self.finished = bytearray(self.left)
        self.opened = 0
        self._first = 0

    def open(self, most: int, outlet: Outlet) -> list[Entry]:
        """Entries for its next values, no more than so many."""
        start, values = self.opened, self.chunk.values[self.opened : self.opened + most]
        self.opened += len(values)
        return [Entry(self, index, value, outlet) for index, value in enumerate(values, start)]

    def finish(self, indices: Sequence[int]) -> None:
        finished = self.finished
        for index in indices:
            finished[index] = 1
        self.left -= len(indices)

    @property
    def first(self) -> int:
        """The index of the first value that is not finished, while one is left."""
        self._first = self.finished.index(0, self._first)
        return self._first


class Entry(Task):
    """One value, and the attempt at it that counts. What the stage knows of it lies here, beside what workers write:
    one object for each record that is under way costs less than two.

    ``result`` counts once ``is_done`` and there is no ``failure``.
    """

    __slots__ = ("failure", "index", "is_done", "key", "lot", "result", "waits")

    def __init__(self, lot: Lot, index: int, value: Any, outlet: Outlet, attempt: int = 1) -> None:
        super().__init__(value, outlet, attempt)
        self.lot, self.index = lot, index
        self.key: Any = None
        self.result: Any = None
        self.failure: Failure | None = None
        self.is_done = False
        self.waits = attempt > 1
        """Whether it failed before and is tried again: others may pass it where order allows."""

    def again(self) -> Entry:
        """A further attempt at the value. What the one before it still brings does not count any more."""
        entry = Entry(self.lot, self.index, self.value, self.outlet, self.attempt + 1)
        entry.key = self.key
        return entry

    def members(self) -> list[Member]:
        """The records the value came from."""
        return self.lot.chunk.origins.members(self.index)

    def partitions(self) -> set[Partition]:
        return {window.place(at)[0] for window, at, _ in self.members()}


class Unfinished:
    """The lots of which something is not finished, in the order of arrival.

    Values get entries as there is room for them, and not all at once: threads that have work wait while this one makes
    some thousand objects.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._lots: dict[int, Lot] = {}
        self._unopened: deque[Lot] = deque()
        self._count = self._opened = 0
        self._mark = 0

    def add(self, chunk: Chunk[Any]) -> None:
        """Accept a chunk."""
        self._mark = max(self._mark, chunk.mark)
        if chunk.values:
            lot = Lot(chunk, self._count)
            self._lots[lot.number] = lot
            self._unopened.append(lot)
            self._count += len(chunk)

    @property
    def unopened(self) -> int:
        """How many values have no entry yet."""
        return self._count - self._opened

    def open(self, most: int) -> list[Entry]:
        """Entries for the next values, no more than so many; they come once, in the order of arrival."""
        entries: list[Entry] = []
        while self._unopened and len(entries) < most:
            lot = self._unopened[0]
            entries += lot.open(most - len(entries), self._outlet)
            if lot.opened == len(lot.finished):
                self._unopened.popleft()
        self._opened += len(entries)
        return entries

    def open_no_more(self) -> None:
        """What has no entry yet never gets one."""
        self._unopened.clear()
        self._opened = self._count

    def finish(self, entries: Iterable[Entry]) -> None:
        for lot, some in groupby(entries, _LOT):
            lot.finish(list(map(_INDEX, some)))
            if not lot.left:
                del self._lots[lot.number]

    def clear(self) -> None:
        self._lots.clear()
        self.open_no_more()

    def __bool__(self) -> bool:
        return bool(self._lots)

    @property
    def span(self) -> int:
        """How many values were accepted since, and including, the oldest that is not finished."""
        for lot in self._lots.values():
            return self._count - lot.number - lot.first
        return 0

    def mark(self) -> int:
        """All records below are done, once everything that left is."""
        lowest = (lot.chunk.origins.low(lot.first) for lot in self._lots.values())
        return min(self._mark, *lowest) if self._lots else self._mark


class Scattered(Origins):
    """Where values of several chunks came from, in whatever order: for each its chunk, and its index there."""

    __slots__ = ("_indices", "_lots", "_lows")

    def __init__(self, lots: list[Lot], indices: list[int]) -> None:
        self._lots, self._indices = lots, indices
        self._lows: list[int] | None = None

    def __len__(self) -> int:
        return len(self._indices)

    def low(self, index: int) -> int:
        if self._lows is None:
            places = zip(self._lots, self._indices, strict=True)
            self._lows = lowest_from([lot.chunk.origins.low(at) for lot, at in places])
        return self._lows[index]

    def high(self, index: int) -> int:
        return self._lots[index].chunk.origins.high(self._indices[index])

    def members(self, index: int) -> list[Member]:
        return self._lots[index].chunk.origins.members(self._indices[index])


def origins_of(entries: Sequence[Entry]) -> Origins:
    """Where these values came from: a piece of one chunk, where they are that."""
    lots, indices = list(map(_LOT, entries)), list(map(_INDEX, entries))
    lot: Lot = lots[0]
    start, stop = indices[0], indices[0] + len(indices)
    if indices == list(range(start, stop)) and lots.count(lot) == len(lots):
        return lot.chunk.origins.part(start, stop)
    return Scattered(lots, indices)
