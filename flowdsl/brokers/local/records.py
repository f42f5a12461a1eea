"""What the embedded broker's consumer returns: slices of logs, copied only when somebody asks for the values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from flowdsl.brokers.local.log import Columns
from flowdsl.records import Extent, Records
from flowdsl.types import Partition, Record


class Span(NamedTuple):
    """Consecutive records of one partition."""

    partition: Partition
    columns: Columns
    start: int
    stop: int


class LocalRecords(Records):
    """Spans, one after the other."""

    __slots__ = ("_bounds", "_payload", "_spans")

    def __init__(self, spans: Sequence[Span], positions: Mapping[Partition, int]) -> None:
        super().__init__(positions)
        self._spans = spans
        self._bounds = list(accumulate((span.stop - span.start for span in spans), initial=0))
        self._payload: list[Any] | None = None

    def __len__(self) -> int:
        return self._bounds[-1]

    @property
    def payload(self) -> list[Any]:
        if self._payload is None:
            self._payload = []
            for span in self._spans:
                self._payload += span.columns.values[span.start : span.stop]
        return self._payload

    @property
    def partition(self) -> Partition | None:
        return self._spans[0].partition if len(self._spans) == 1 else None

    def _find(self, index: int) -> tuple[Span, int]:
        at = bisect_right(self._bounds, index) - 1
        span = self._spans[at]
        return span, span.start + index - self._bounds[at]

    def place(self, index: int) -> tuple[Partition, int]:
        span, row = self._find(index)
        return span.partition, span.columns.offsets[row]

    def record(self, index: int) -> Record[Any]:
        (partition, columns, _, _), row = self._find(index)
        return Record(
            partition.topic.name,
            partition.index,
            columns.offsets[row],
            columns.keys[row],
            columns.values[row],
            columns.headers[row],
            columns.timestamps[row],
        )

    def extent(self) -> Extent:
        extent = Extent(self.positions)
        for partition, columns, start, stop in self._spans:
            extent.add(partition, columns.offsets[start:stop])
        return extent

    def window(self, start: int, stop: int) -> LocalRecords:
        if start == 0 and stop == len(self):
            return self
        return LocalRecords(self._cut(start, stop), self.positions if stop == len(self) else {})

    def _cut(self, start: int, stop: int) -> list[Span]:
        return [
            Span(span.partition, span.columns, span.start + max(start - low, 0), span.start + min(stop, high) - low)
            for span, low, high in zip(self._spans, self._bounds, self._bounds[1:], strict=False)
            if low < stop and start < high
        ]
