"""Several reads as one: how a client behaves that has records in hand when a rebalance begins."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from flowdsl.records import Records
from flowdsl.types import Partition, Record

Row = tuple[Records, int]


class Gathered(Records):
    """Records of several reads, one by one, without those of partitions that changed hands in between."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Sequence[Row], positions: dict[Partition, int]) -> None:
        super().__init__(positions)
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def payload(self) -> list[Any]:
        return [records.payload[at] for records, at in self._rows]

    def place(self, index: int) -> tuple[Partition, int]:
        records, at = self._rows[index]
        return records.place(at)

    def record(self, index: int) -> Record[Any]:
        records, at = self._rows[index]
        return records.record(at)

    def window(self, start: int, stop: int) -> Records:
        return Gathered(self._rows[start:stop], dict(self.positions) if stop >= len(self) else {})


def gathered(first: Records, second: Records, changed: Collection[Partition]) -> Records:
    """Both, except for what the first has of partitions that changed hands since."""
    rows = [(first, at) for at in range(len(first)) if first.place(at)[0] not in changed]
    rows += [(second, at) for at in range(len(second))]
    positions = {partition: at for partition, at in first.positions.items() if partition not in changed}
    return Gathered(rows, {**positions, **second.positions})
