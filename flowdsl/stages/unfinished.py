"""What a stage accepted and has not finished, whatever order it ends in: where each value came from, and how far it is.

The mark of what leaves is never above the lowest record that stays: that is all that out-of-order work needs to know of
offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.origins import Member, Origins
from flowdsl.stages.failures import Failure
from flowdsl.stages.grouping import Grouped
from flowdsl.types import Partition


class Lot:
    """A chunk as it was accepted, and which of its values are finished. ``number``: how many values came before it."""

    __slots__ = ("_first", "chunk", "finished", "left", "number")

    def __init__(self, chunk: Chunk[Any], number: int) -> None:
        self.chunk, self.number = chunk, number
        self.left = len(chunk)
        self.finished = bytearray(self.left)
        self._first = 0

    @property
    def first(self) -> int:
        """The index of the first value that is not finished, while one is left."""
        self._first = self.finished.index(0, self._first)
        return self._first


class Entry:
    """One value, and how often it was attempted. ``result`` counts once ``is_done`` and there is no ``failure``."""

    __slots__ = ("attempts", "failure", "index", "is_done", "key", "lot", "result", "value", "waits")

    def __init__(self, lot: Lot, index: int, value: Any) -> None:
        self.lot, self.index, self.value = lot, index, value
        self.attempts = 0
        self.key: Any = None
        self.result: Any = None
        self.failure: Failure | None = None
        self.is_done = False
        self.waits = False
        """Whether it failed and is tried again: others may pass it where order allows."""

    def members(self) -> list[Member]:
        """The records the value came from."""
        return self.lot.chunk.origins.members(self.index)

    def partitions(self) -> set[Partition]:
        return {window.place(at)[0] for window, at, _ in self.members()}


class Unfinished:
    """The lots of which something is not finished, in the order of arrival."""

    def __init__(self) -> None:
        self._lots: dict[int, Lot] = {}
        self._count = 0
        self._mark = 0

    def add(self, chunk: Chunk[Any]) -> list[Entry]:
        """Accept a chunk; returns its values as entries."""
        self._mark = max(self._mark, chunk.mark)
        if not chunk.values:
            return []
        lot = Lot(chunk, self._count)
        self._lots[lot.number] = lot
        self._count += len(chunk)
        return [Entry(lot, index, value) for index, value in enumerate(chunk.values)]

    def finish(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            lot = entry.lot
            lot.finished[entry.index] = 1
            lot.left -= 1
            if not lot.left:
                del self._lots[lot.number]

    def clear(self) -> None:
        self._lots.clear()

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


def origins_of(entries: Sequence[Entry]) -> Origins:
    """Where these values came from: a piece of one chunk, where they are that."""
    lot, start = entries[0].lot, entries[0].index
    stop = start + len(entries)
    in_order = [entry.index for entry in entries] == list(range(start, stop))
    if in_order and all(entry.lot is lot for entry in entries):
        return lot.chunk.origins.part(start, stop)
    return Grouped([[(entry.lot.chunk.origins, entry.index, entry.index + 1)] for entry in entries])
