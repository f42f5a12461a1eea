"""One partition: an append-only log, kept in columns. Whoever calls these methods holds the storage's lock.

Columns only grow, so what a reader was given stays valid without the lock; ``truncate`` replaces them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from datetime import datetime
from typing import NamedTuple

HeaderTuple = tuple[tuple[str, bytes | None], ...]


class Columns(NamedTuple):
    """The records of a log, one list for each of their parts."""

    offsets: array[int]
    values: list[bytes | None]
    keys: list[bytes | None]
    headers: list[HeaderTuple]
    timestamps: list[datetime]

    def cut(self) -> None:
        """Drop what an interrupted writer left: the offset is written last, and says that a record is there."""
        for column in self[1:]:
            del column[len(self.offsets) :]


class Log:
    """``beginning``: the lowest offset that is still there; ``end``: the next one to be written. Offsets may have gaps."""

    __slots__ = ("beginning", "born", "columns", "end")

    def __init__(self, born: int) -> None:
        self.columns = Columns(array("q"), [], [], [], [])
        self.beginning = self.end = 0
        self.born = born

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: HeaderTuple,
        timestamp: datetime,
        offset: int | None = None,
    ) -> int:
        """Write one record and return its offset. ``offset`` may leave a gap, as transactions and compaction do."""
        if offset is None:
            offset = self.end
        elif offset < self.end:
            msg = f"offset must be at least {self.end}, the end of the log, but is {offset}"
            raise ValueError(msg)
        columns = self.columns
        if len(columns.values) > len(columns.offsets):
            columns.cut()
        columns.values.append(value)
        columns.keys.append(key)
        columns.headers.append(headers)
        columns.timestamps.append(timestamp)
        self.end = offset + 1
        columns.offsets.append(offset)
        return offset

    def skip(self, count: int) -> None:
        """Leave ``count`` offsets without records."""
        self.end += count

    def truncate(self, before: int) -> None:
        """Drop the records below an offset, as retention does."""
        self.beginning = min(max(self.beginning, before), self.end)
        start = self.index(self.beginning)
        old = self.columns
        self.columns = Columns(
            old.offsets[start:], old.values[start:], old.keys[start:], old.headers[start:], old.timestamps[start:]
        )

    def index(self, offset: int) -> int:
        """Where in the columns the first record at or after an offset is."""
        return bisect_left(self.columns.offsets, offset)

    def __len__(self) -> int:
        return len(self.columns.offsets)

    def before_end(self, count: int) -> int:
        """The offset of the record that has ``count - 1`` others behind it; the beginning if there are not so many."""
        offsets = self.columns.offsets
        return offsets[-count] if count <= len(offsets) else self.beginning

    def at(self, when: datetime) -> int:
        """The first offset whose timestamp is not before ``when``; the end where there is none."""
        columns = self.columns
        found = (offset for offset, time in zip(columns.offsets, columns.timestamps, strict=True) if time >= when)
        return next(found, self.end)
