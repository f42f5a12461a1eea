"""Where values came from, against plain sets of numbers: through filters, flat maps, groups and cuts, in any order."""

from __future__ import annotations

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.chunks import Chunk
from flowdsl.origins import Arrived, Origins, Picked, Sifted, expanded, kept
from flowdsl.stages.grouping import Grouped
from tests.stages.rows import Rows, reads, value_of


@frozen
class Whole:
    """A chunk, and beside it, for each value, the numbers of its records."""

    chunk: Chunk[bytes]
    numbers: list[list[int]]

    @property
    def mark(self) -> int:
        return self.chunk.mark


def check(whole: Whole, rows: Rows, first: int, *, in_order: bool = True) -> None:
    """What is done without a value may be told too low where values are out of order, and never too high."""
    origins = whole.chunk.origins
    assert len(origins) == len(whole.chunk) == len(whole.numbers)
    for index, numbers in enumerate(whole.numbers):
        later = [number for each in whole.numbers[index:] for number in each]
        low = origins.low(index)
        assert low == min(later) if in_order else first <= low <= min(later)
        assert origins.high(index) == max(numbers)
        assert [number for _, _, number in origins.members(index)] == numbers
        for stop in range(index, len(origins)):
            several = [number for each in whole.numbers[index:stop] for number in each]
            assert [number for _, _, number in origins.between(index, stop)] == list(dict.fromkeys(several))
        told = [(record.partition, record.offset) for record in origins.records(index)]
        assert told == [(place.index, offset) for place, offset in (rows.rows[number - first] for number in numbers)]
        for window, position, number in origins.members(index):
            assert window.place(position) == rows.rows[number - first]
    for stop in range(len(whole.numbers) + 1):
        rest = [number for each in whole.numbers[stop:] for number in each]
        head, tail = whole.chunk.head(stop), whole.chunk.tail(stop)
        done = min([whole.mark, *rest])
        assert head.mark == done if in_order else min(first, done) <= head.mark <= done
        assert tail.mark == whole.mark
        assert head.values + tail.values == whole.chunk.values
        for part, expected in ((head, whole.numbers[:stop]), (tail, whole.numbers[stop:])):
            found = [[number for _, _, number in part.origins.members(index)] for index in range(len(part))]
            assert found == expected


def filtered(whole: Whole, data: st.DataObject) -> Whole:
    mask = data.draw(st.lists(st.booleans(), min_size=len(whole.chunk), max_size=len(whole.chunk)))
    values = [value for value, keep in zip(whole.chunk.values, mask, strict=True) if keep]
    numbers = [each for each, keep in zip(whole.numbers, mask, strict=True) if keep]
    return Whole(Chunk(values, whole.mark, kept(whole.chunk.origins, mask, len(values))), numbers)


def sifted(whole: Whole, data: st.DataObject) -> Whole:
    """By several filters, as a fused loop notes it: each keeps a list of its own."""
    filters = data.draw(st.integers(1, 3))
    fates = data.draw(st.lists(st.integers(0, filters), min_size=len(whole.chunk), max_size=len(whole.chunk)))
    kept_at: list[int] = []
    drops: list[list[int]] = [[] for _ in range(filters)]
    for index, fate in enumerate(fates):
        if fate < filters:
            drops[fate].append(len(kept_at))
        else:
            kept_at.append(index)
    values = [whole.chunk.values[index] for index in kept_at]
    origins = Sifted(whole.chunk.origins, drops, len(values))
    assert list(origins.positions) == kept_at
    return Whole(Chunk(values, whole.mark, origins), [whole.numbers[index] for index in kept_at])


def flattened(whole: Whole, data: st.DataObject) -> Whole:
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(whole.chunk), max_size=len(whole.chunk)))
    values = [value for value, count in zip(whole.chunk.values, counts, strict=True) for _ in range(count)]
    numbers = [each for each, count in zip(whole.numbers, counts, strict=True) for _ in range(count)]
    return Whole(Chunk(values, whole.mark, expanded(whole.chunk.origins, counts, len(values))), numbers)


def grouped(whole: Whole, data: st.DataObject) -> Whole:
    size = data.draw(st.integers(1, 3))
    starts = range(0, len(whole.chunk), size)
    groups = [[(whole.chunk.origins, at, min(at + size, len(whole.chunk)))] for at in starts]
    numbers = [
        list(dict.fromkeys(number for each in whole.numbers[at : at + size] for number in each)) for at in starts
    ]
    return Whole(Chunk([b"group"] * len(groups), whole.mark, Grouped(groups)), numbers)


def shuffled(whole: Whole, data: st.DataObject) -> Whole:
    order = data.draw(st.permutations(range(len(whole.chunk))))
    members = [whole.chunk.origins.members(index) for index in order]
    values = [whole.chunk.values[index] for index in order]
    return Whole(Chunk(values, whole.mark, Picked(members)), [whole.numbers[index] for index in order])


def cut(whole: Whole, data: st.DataObject) -> Whole:
    start = data.draw(st.integers(0, len(whole.chunk)))
    stop = data.draw(st.integers(start, len(whole.chunk)))
    part: Origins = whole.chunk.origins.part(start, stop)
    return Whole(Chunk(whole.chunk.values[start:stop], whole.mark, part), whole.numbers[start:stop])


@given(
    reads(most=1),
    st.integers(0, 50),
    st.lists(st.sampled_from([filtered, sifted, flattened, grouped, shuffled, cut]), max_size=5),
    st.data(),
)
def test_values_know_their_records_whatever_was_done_to_them(
    given: list[Rows], first: int, steps: list[object], data: st.DataObject
) -> None:
    rows = given[0] if given else Rows([], {})
    numbers = [[first + index] for index in range(len(rows))]
    whole = Whole(Chunk(rows.payload, first + len(rows), Arrived(rows, first)), numbers)
    check(whole, rows, first)
    for at, step in enumerate(steps):
        whole = step(whole, data)  # type: ignore[operator]  # one of the functions above
        check(whole, rows, first, in_order=shuffled not in steps[: at + 1])


@given(reads(most=1))
def test_a_chunk_completes_what_its_records_complete(given: list[Rows]) -> None:
    rows = given[0] if given else Rows([], {})
    chunk: Chunk[bytes] = Chunk(rows.payload, len(rows), Arrived(rows, 0))
    expected = {place: offset + 1 for place, offset in rows.rows}
    assert chunk.committable == expected
    assert chunk.payload == [value_of(row) for row in rows.rows]
