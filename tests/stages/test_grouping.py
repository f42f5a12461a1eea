"""What a group holds, when it leaves and what it completes, against plain lists."""

from __future__ import annotations

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.chunks import Chunk, progress
from flowdsl.origins import Arrived, kept
from flowdsl.stages import grouping
from flowdsl.stages.context import StepCount
from flowdsl.stages.grouping import Grouping, all_values
from flowdsl.testing import VirtualClock
from tests.stages.rows import PLACES, Rows, windows

WITHIN = 5.0


@define
class Model:
    """Numbers of the values that are held, since when; and the mark of what came last."""

    size: int
    held: list[int] = field(factory=list[int])
    since: float = 0.0
    mark: int = 0

    def add(self, numbers: list[int], now: float) -> list[list[int]]:
        full: list[list[int]] = []
        for number in numbers:
            self.since = self.since if self.held else now
            self.held.append(number)
            if len(self.held) == self.size:
                full.append(self.held)
                self.held = []
        return full

    @property
    def done(self) -> int:
        """All records below it have left, or are not wanted."""
        return min([self.mark, *self.held])


class Pair:
    """A grouping and its model, which have to agree."""

    def __init__(self, size: int, within: float | None) -> None:
        self.clock = VirtualClock()
        self.within = within
        self.grouping = Grouping(size, within, all_values, clock=self.clock, count=StepCount("batch"))
        self.model = Model(size)
        self.reached = 0

    def add(self, chunk: Chunk[int], numbers: list[int]) -> None:
        self.model.mark = chunk.mark
        full = self.model.add(numbers, self.clock())
        self.check(list(self.grouping.add(chunk)), full)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        due = self.within is not None and bool(self.model.held) and self.clock() >= self.model.since + self.within
        self.leave(list(self.grouping.advance()), due=due)

    def leave(self, chunks: list[Chunk[list[int]]], *, due: bool) -> None:
        groups = [self.model.held] if due else []
        self.model.held = [] if due else self.model.held
        self.check(chunks, groups)

    def check(self, chunks: list[Chunk[list[int]]], groups: list[list[int]]) -> None:
        assert [value for chunk in chunks for value in chunk.values] == groups
        for chunk in chunks:
            for index, value in enumerate(chunk.values):
                assert [number for _, _, number in chunk.origins.members(index)] == value
                assert chunk.origins.high(index) == max(value)
            self.reached = max(chunk.mark, self.reached)
        assert self.reached <= self.model.done
        if chunks:
            assert self.reached == self.model.done
        assert self.grouping.held == len(self.model.held)
        deadline = self.model.since + self.within if self.model.held and self.within is not None else None
        assert self.grouping.deadline() == deadline


@given(
    windows(),
    st.integers(1, 5),
    st.sampled_from([None, WITHIN]),
    st.sampled_from([grouping.FEW, 0]),
    st.data(),
)
def test_a_group_leaves_full_or_in_time_and_completes_what_nobody_holds(
    given: list[Rows], size: int, within: float | None, few: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "FEW", few)  # with 0 what passed by is let go of as soon as it is eight times as much
        compare(given, Pair(size, within), data)


def compare(given: list[Rows], pair: Pair, data: st.DataObject) -> None:
    first = 0
    for rows in given:
        numbers = list(range(first, first + len(rows)))
        mask = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
        wanted = [number for number, keep in zip(numbers, mask, strict=True) if keep]
        mark = first + len(rows)
        origins = kept(Arrived(rows, first), mask, len(wanted))
        pair.add(Chunk(wanted, mark, origins) if numbers else progress(mark), wanted)
        pair.advance(data.draw(st.sampled_from([0.0, 1.0, WITHIN])))
        first = mark
    pair.leave(list(pair.grouping.flush()), due=bool(pair.model.held))
    assert pair.reached == (first or 0) or not first
    assert list(pair.grouping.flush()) == []


@pytest.mark.parametrize(
    ("limit", "few", "alive"),
    [
        ("FEW", 20, 1),
        ("FEW", 30, 10),
        ("FEW_BYTES", 20 * 4, 1),
        ("FEW_BYTES", 30 * 4, 10),
    ],  # values of up to four bytes
)
def test_a_group_lets_go_of_many_records_that_passed_by_and_knows_its_own(
    limit: str, few: int, alive: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, limit, few)
    group = Grouping(3, None, all_values, clock=VirtualClock(), count=StepCount("batch"))
    for first in (0, 10, 20):
        rows = Rows([(PLACES[0], offset) for offset in range(first, first + 10)], {})
        mask = [at == 4 for at in range(10)]
        chunks = group.add(Chunk([first + 4], first + 10, kept(Arrived(rows, first), mask, 1)))
    members = chunks[0].origins.members(0)
    assert [number for _, _, number in members] == [4, 14, 24]
    assert [window.place(at) for window, at, _ in members] == [(PLACES[0], offset) for offset in (4, 14, 24)]
    assert [len(window) for window, _, _ in members] == [alive] * 3
