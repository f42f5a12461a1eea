"""Chunks: many values that travel together, and what is done once they are.

What is done is one number, the *mark*. Every record that a pipeline accepts gets a number in the order of arrival; the
mark m of a chunk says: once its values are done, and those of all chunks before it, every record below m is done. So
progress needs no offset arithmetic, and the progress of several branches is the smallest of their marks.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from flowdsl.origins import NOTHING, Origins
from flowdsl.types import BaseValue, Partition

T = TypeVar("T")


class Chunk(BaseValue[list[T]]):
    """Values that travel together. ``mark``: all records below it are done once these and all before them are.

    May be empty and still carry a mark.
    """

    __slots__ = ("mark", "origins", "values")

    def __init__(self, values: list[Any], mark: int, origins: Origins) -> None:
        self.values, self.mark, self.origins = values, mark, origins

    def __len__(self) -> int:
        return len(self.values)

    @property
    def payload(self) -> list[T]:
        return self.values

    @property
    def committable(self) -> dict[Partition, int]:
        """The next offset after the records that these values came from."""
        offsets: dict[Partition, int] = {}
        for index in range(len(self)):
            for window, position, _ in self.origins.members(index):
                partition, offset = window.place(position)
                offsets[partition] = max(offsets.get(partition, 0), offset + 1)
        return offsets

    @property
    def timestamp(self) -> datetime | None:
        records = self.origins.records(len(self) - 1) if len(self) else []
        return records[-1].timestamp if records else None

    def head(self, stop: int) -> Chunk[T]:
        """The first ``stop`` values, and what they complete: everything before the next value."""
        if stop >= len(self.values):
            return self
        return Chunk(self.values[:stop], min(self.origins.low(stop), self.mark), self.origins.part(0, stop))

    def tail(self, start: int) -> Chunk[T]:
        """The values from ``start`` on, which complete what the whole completes."""
        if start == 0:
            return self
        return Chunk(self.values[start:], self.mark, self.origins.part(start, len(self)))

    def __repr__(self) -> str:
        return f"<chunk of {len(self.values)}, mark {self.mark}>"


def progress(mark: int) -> Chunk[Any]:
    """No values, only a mark."""
    return Chunk([], mark, NOTHING)
