"""What one read of a source brings: the records, in the order of arrival, and where the reader stands after them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from flowdsl.types import BaseValue, Partition, Record

RecordPart = Literal["key", "headers", "timestamp"]
SAMPLE = 8


class Extent:
    """Where consecutive records are, and nothing of what is in them: all that has to be known until they are done.

    ``positions``: where the consumer stands after these records, which may be past the last of them: transactions and
    compaction leave gaps. Empty for a window that ends before the read does.
    """

    __slots__ = ("positions",)

    def __init__(self, positions: Mapping[Partition, int]) -> None:
        self.positions = positions

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def place(self, index: int) -> tuple[Partition, int]:
        """Partition and offset of one record."""

    @property
    def committable(self) -> dict[Partition, int]:
        return self.committable_below(len(self))

    def committable_below(self, stop: int) -> dict[Partition, int]:
        """The next offsets to read once the first ``stop`` records are done."""
        if stop == len(self) and self.positions:
            return dict(self.positions)
        offsets: dict[Partition, int] = {}
        for index in range(stop):
            partition, offset = self.place(index)
            offsets[partition] = offset + 1
        return offsets


class Listed(Extent):
    """The place of each, in a list."""

    __slots__ = ("_places",)

    def __init__(self, places: Sequence[tuple[Partition, int]], positions: Mapping[Partition, int]) -> None:
        super().__init__(positions)
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def place(self, index: int) -> tuple[Partition, int]:
        return self._places[index]


class Records(Extent, BaseValue[list[Any]]):
    """Consecutive records as a source read them. What a consumer returns, and what it submits to a compiled pipeline.

    Per read and slice ``len``, ``window``, ``payload`` and ``extent`` are called, once or twice each, and nothing per
    record: these must cost little, also where ``window`` is the whole, and ``payload`` should be a list that is there
    already. All else is asked of single records, when something failed, wants to see the record, or ends a group in
    mid-slice. A pipeline keeps windows as long as something that came of their records is under way, so a window of few
    records must not keep a large read alive.
    """

    __slots__ = ("_nbytes",)

    def __init__(self, positions: Mapping[Partition, int]) -> None:
        super().__init__(positions)
        self._nbytes: int | None = None

    @property
    @abstractmethod
    def payload(self) -> list[Any]:
        """The raw values in the order of arrival: bytes, or None for a tombstone."""

    @abstractmethod
    def record(self, index: int) -> Record[Any]:
        """One record with key, headers and timestamp; its value is the raw one."""

    @abstractmethod
    def window(self, start: int, stop: int) -> Records:
        """The records from ``start`` to ``stop``; with ``positions`` only if they end where these do."""

    @property
    def partition(self) -> Partition | None:
        """The partition of all of them; None where there are several, or where that is not known."""
        return None

    def column(self, part: RecordPart, at: Sequence[int] | None = None) -> Sequence[Any]:
        """One part of all records, or of those ``at`` some places: keys, headers, or timestamps.

        Timestamps may be milliseconds since 1970.
        """
        return [getattr(self.record(index), part) for index in (range(len(self)) if at is None else at)]

    def nbytes(self) -> int:
        """About how large the values are, in bytes: by a sample of them. Those that are no bytes count as nothing."""
        if self._nbytes is None:
            sample = self.payload[:: max(1, len(self) // SAMPLE)]
            seen = sum([len(value) for value in sample if type(value) is bytes])
            self._nbytes = seen * len(self) // max(1, len(sample))
        return self._nbytes

    def extent(self) -> Extent:
        """Where they are. Kept until they are done, while their values may be gone sooner."""
        return Listed([self.place(index) for index in range(len(self))], self.positions)

    @property
    def timestamp(self) -> datetime | None:
        return self.record(len(self) - 1).timestamp if len(self) else None
