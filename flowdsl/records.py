"""What one read of a source brings: the records, in the order of arrival, and where the reader stands after them."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Literal

from msgspec import Struct

from flowdsl.types import BaseValue, Partition, Record

RecordPart = Literal["key", "headers", "timestamp"]
SAMPLE = 8


class Run(Struct):
    """Records of one partition that follow each other. ``start``: the index of the first of them."""

    start: int
    partition: Partition
    offsets: Sequence[int]


class Extent:
    """Where consecutive records are, and nothing of what is in them: all that has to be known until they are done.

    ``positions``: where the consumer stands after these records, which may be past the last of them: transactions and
    compaction leave gaps. Empty for a window that ends before the read does.
    """

    __slots__ = ("_runs", "positions")

    def __init__(self, positions: Mapping[Partition, int]) -> None:
        self.positions = positions
        self._runs: list[Run] = []

    def add(self, partition: Partition, offsets: Sequence[int]) -> None:
        """The next records. Neighbours of one partition are one run."""
        if not offsets:
            return
        runs = self._runs
        last = runs[-1] if runs else None
        if last is None:
            runs.append(Run(0, partition, offsets))
            return
        before = last.offsets
        if last.partition != partition:
            runs.append(Run(last.start + len(before), partition, offsets))
        elif isinstance(before, range) and isinstance(offsets, range) and before.stop == offsets.start:
            last.offsets = range(before.start, offsets.stop)
        else:
            last.offsets = [*before, *offsets]

    def __len__(self) -> int:
        return self._runs[-1].start + len(self._runs[-1].offsets) if self._runs else 0

    @property
    def only(self) -> Partition | None:
        """The partition of all of them, where there is but one."""
        return self._runs[0].partition if len(self._runs) == 1 else None

    def place(self, index: int) -> tuple[Partition, int]:
        """Partition and offset of one record."""
        runs = self._runs
        run = runs[0] if len(runs) == 1 else runs[bisect_right(runs, index, key=_START) - 1]
        return run.partition, run.offsets[index - run.start]

    @property
    def committable(self) -> dict[Partition, int]:
        return self.committable_below(len(self))

    def committable_below(self, stop: int) -> dict[Partition, int]:
        """The next offsets to read once the first ``stop`` records are done."""
        if stop == len(self) and self.positions:
            return dict(self.positions)
        return {run.partition: run.offsets[end - run.start - 1] + 1 for _, end, run in self.between(0, stop)}

    def between(self, start: int, stop: int) -> Iterator[tuple[int, int, Run]]:
        """The runs that are there, with the indexes between which they are."""
        for run in self._runs:
            first, last = max(run.start, start), min(run.start + len(run.offsets), stop)
            if first < last:
                yield first, last, run


_START = attrgetter("start")


class Records(BaseValue[list[Any]]):
    """Consecutive records as a source read them. What a consumer returns, and what it submits to a compiled pipeline.

    Per read and slice ``len``, ``window``, ``payload`` and ``extent`` are called, once or twice each, and nothing per
    record: these must cost little, also where ``window`` is the whole, and ``payload`` should be a list that is there
    already. All else is asked of single records, when something failed, wants to see the record, or ends a group in
    mid-slice. A pipeline keeps windows as long as something that came of their records is under way, so a window of few
    records must not keep a large read alive.

    ``positions``: where the consumer stands after them, as in ``Extent``.
    """

    __slots__ = ("_nbytes", "positions")

    def __init__(self, positions: Mapping[Partition, int]) -> None:
        self.positions = positions
        self._nbytes: int | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def payload(self) -> list[Any]:
        """The raw values in the order of arrival: bytes, or None for a tombstone."""

    @abstractmethod
    def place(self, index: int) -> tuple[Partition, int]:
        """Partition and offset of one record."""

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
        """Where they are: kept until they are done, while their values may be gone sooner. Of no value is anything in it."""
        extent = Extent(self.positions)
        for partition, places in groupby(map(self.place, range(len(self))), key=itemgetter(0)):
            extent.add(partition, [offset for _, offset in places])
        return extent

    @property
    def committable(self) -> dict[Partition, int]:
        return self.extent().committable

    @property
    def timestamp(self) -> datetime | None:
        return self.record(len(self) - 1).timestamp if len(self) else None
