"""What a client makes of its reads: several as one, when a rebalance begins with records in hand, and positions that
come with a later read than the records before them.
"""

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


class Untold:
    """Positions that were not told yet. Of a partition that changes hands, or is sent elsewhere, they never are."""

    def __init__(self) -> None:
        self._positions: dict[Partition, int] = {}

    def forget(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._positions.pop(partition, None)

    def told(self, records: Records, *, later: bool) -> Records:
        """What a read brings, with the positions that are due; or without any, to be told later."""
        known, self._positions = {**self._positions, **records.positions}, {}
        if later:
            self._positions, known = known, {}
        return records if known == records.positions else Gathered([(records, at) for at in range(len(records))], known)


def gathered(first: Records, second: Records, changed: Collection[Partition]) -> Records:
    """Both, except for what the first has of partitions that changed hands since."""
    rows = [(first, at) for at in range(len(first)) if first.place(at)[0] not in changed]
    rows += [(second, at) for at in range(len(second))]
    positions = {partition: at for partition, at in first.positions.items() if partition not in changed}
    return Gathered(rows, {**positions, **second.positions})


def spans(records: Records) -> str:
    """What a read brought, in words."""
    places: dict[Partition, list[int]] = {}
    for index in range(len(records)):
        partition, offset = records.place(index)
        places.setdefault(partition, []).append(offset)
    return ", ".join(f"{partition} {offsets[0]}..{offsets[-1]}" for partition, offsets in sorted(places.items()))
