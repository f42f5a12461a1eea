"""Records for tests of stages: windows over several partitions, with gaps in their offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from flowdsl.records import Records
from flowdsl.types import Partition, Record, Topic

PLACES = [Partition(Topic("orders"), index) for index in range(3)]

Row = tuple[Partition, int]
"""Partition and offset of one record; its value is the text of both."""


class Rows(Records):
    """A read that brought these records."""

    def __init__(self, rows: Sequence[Row], positions: Mapping[Partition, int]) -> None:
        super().__init__(positions)
        self.rows = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def payload(self) -> list[Any]:
        return [value_of(row) for row in self.rows]

    def place(self, index: int) -> Row:
        return self.rows[index]

    def record(self, index: int) -> Record[Any]:
        partition, offset = self.rows[index]
        return Record(partition.topic.name, partition.index, offset, None, value_of(self.rows[index]))

    def window(self, start: int, stop: int) -> Rows:
        return Rows(self.rows[start:stop], self.positions if stop >= len(self) else {})


def value_of(row: Row) -> bytes:
    return f"{row[0].index}:{row[1]}".encode()


@st.composite
def reads(draw: st.DrawFn, *, most: int = 6) -> list[Rows]:
    """Consecutive reads. Offsets grow by more than one now and then. A read may bring a position alone, or records alone:
    where partitions change hands during a read, the position behind its records comes with a later one.
    """
    ends = dict.fromkeys(PLACES, 0)
    made: list[Rows] = []
    for _ in range(draw(st.integers(0, most))):
        rows: list[Row] = []
        moved: dict[Partition, int] = {}
        for index in draw(st.lists(st.integers(0, 2), max_size=7)):
            place = PLACES[index]
            offset = ends[place] + draw(st.sampled_from([0, 0, 0, 3]))
            rows.append((place, offset))
            ends[place] = moved[place] = offset + 1
        for index in draw(st.sets(st.integers(0, 2), max_size=2)):
            ends[PLACES[index]] += draw(st.integers(0, 2))
            moved[PLACES[index]] = ends[PLACES[index]]
        made.append(Rows(rows, moved if draw(st.integers(0, 3)) else {}))
    return made


@st.composite
def windows(draw: st.DrawFn, *, most: int = 6) -> list[Rows]:
    """Consecutive reads, each cut into windows anyhow, as the loop hands them on."""
    cut: list[Rows] = []
    for read in draw(reads(most=most)):
        start = 0
        while start < len(read):
            stop = draw(st.integers(start + 1, len(read)))
            cut.append(read.window(start, stop))
            start = stop
        if not len(read):
            cut.append(read)
    return cut
