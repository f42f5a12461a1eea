"""Where the values of a chunk came from. Nothing is looked up, or even counted, before somebody asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress, repeat
from operator import add
from typing import Any

from flowdsl.records import RecordPart, Records
from flowdsl.types import Partition, Record

Member = tuple[Records, int, int]
"""One record that a value came from: its window, its index in it, its number."""


class Origins(ABC):
    """Where the values of one chunk came from: aligned with them, and worked out only when somebody asks."""

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def low(self, index: int) -> int:
        """The lowest number among the records of the values from ``index`` on: all below it is done without them."""

    @abstractmethod
    def high(self, index: int) -> int:
        """The highest number among the records of one value."""

    @abstractmethod
    def members(self, index: int) -> list[Member]:
        """The records that one value came from, each of them once."""

    def between(self, start: int, stop: int) -> list[Member]:
        """The records that the values from ``start`` to ``stop`` came from, each of them once, in the order of arrival."""
        return list({member[2]: member for at in range(start, stop) for member in self.members(at)}.values())

    def records(self, index: int) -> list[Record[Any]]:
        """The records that one value came from, in the order of arrival."""
        return [window.record(position) for window, position, _ in self.members(index)]

    def column(self, part: RecordPart, at: Sequence[int] | None = None) -> Sequence[Any]:
        """That part of the record that each value came from, or only those ``at`` some places; None for several."""
        found: list[Any] = []
        for index in range(len(self)) if at is None else at:
            members = self.members(index)
            found.append(getattr(members[0][0].record(members[0][1]), part) if len(members) == 1 else None)
        return found

    @property
    def partition(self) -> Partition | None:
        """The partition that all values came from; None where there are several, or where that is not known."""
        return None

    def part(self, start: int, stop: int) -> Origins:
        """The origins of the values from ``start`` to ``stop``."""
        return self if start == 0 and stop == len(self) else Part(self, range(start, stop))


class Arrived(Origins):
    """Each value is one record of a window, in the order of arrival. ``first``: the number of the window's first."""

    __slots__ = ("first", "window")

    def __init__(self, window: Records, first: int) -> None:
        self.window, self.first = window, first

    def __len__(self) -> int:
        return len(self.window)

    def column(self, part: RecordPart, at: Sequence[int] | None = None) -> Sequence[Any]:
        return self.window.column(part, at)

    @property
    def partition(self) -> Partition | None:
        return self.window.partition

    def low(self, index: int) -> int:
        return self.first + index

    def high(self, index: int) -> int:
        return self.first + index

    def members(self, index: int) -> list[Member]:
        return [(self.window, index, self.first + index)]


class Part(Origins):
    """Some of the values of a chunk, in their order; a value may appear several times."""

    __slots__ = ("_chosen", "_length", "_positions", "whole")

    def __init__(self, whole: Origins, positions: Iterable[int], length: int | None = None) -> None:
        self.whole = whole
        self._chosen = positions
        self._positions: Sequence[int] | None = positions if isinstance(positions, range) else None
        self._length = length

    @property
    def positions(self) -> Sequence[int]:
        """The index in ``whole`` of each value."""
        if self._positions is None:
            self._positions = self._found()
        return self._positions

    def _found(self) -> Sequence[int]:
        return list(self._chosen)

    def position(self, index: int) -> int:
        """The index in ``whole`` of one value."""
        return self.positions[index]

    def __len__(self) -> int:
        return len(self.positions) if self._length is None else self._length

    def column(self, part: RecordPart, at: Sequence[int] | None = None) -> Sequence[Any]:
        positions = self.positions
        return self.whole.column(part, positions if at is None else [positions[index] for index in at])

    @property
    def partition(self) -> Partition | None:
        return self.whole.partition

    def low(self, index: int) -> int:
        return self.whole.low(self.position(index))

    def high(self, index: int) -> int:
        return self.whole.high(self.position(index))

    def members(self, index: int) -> list[Member]:
        return self.whole.members(self.position(index))

    def between(self, start: int, stop: int) -> list[Member]:
        places = dict.fromkeys(self.positions[start:stop])  # many values may have come from one
        return list({member[2]: member for at in places for member in self.whole.members(at)}.values())


class Sifted(Part):
    """What filters left. ``drops``: for each of them, in order, how many values had been left before each it dropped."""

    __slots__ = ("_drops",)

    def __init__(self, whole: Origins, drops: Sequence[list[int]], length: int) -> None:
        self._drops = drops[0] if len(drops) == 1 else sorted(chain.from_iterable(drops))
        super().__init__(whole, (), length)

    def _found(self) -> Sequence[int]:
        return list(_left(len(self.whole), self._drops))

    def position(self, index: int) -> int:
        return index + bisect_right(self._drops, index)


def _left(count: int, drops: Sequence[int]) -> Iterator[int]:
    """The positions of what was left of so many values."""
    mask = bytearray(b"\1") * count
    for position in map(add, drops, range(count)):
        mask[position] = 0
    yield from compress(range(count), mask)


class Picked(Origins):
    """Values with their records named one by one: groups, and values that came out of order."""

    __slots__ = ("_lows", "_members")

    def __init__(self, members: Sequence[Iterable[tuple[Records, int, int]]]) -> None:
        self._members: list[Iterable[tuple[Records, int, int]]] = list(members)
        self._lows: list[int] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def members(self, index: int) -> list[Member]:
        named = list(self._members[index])
        self._members[index] = named
        return named

    def low(self, index: int) -> int:
        if self._lows is None:
            self._lows = lowest_from([min(number for _, _, number in self.members(at)) for at in range(len(self))])
        return self._lows[index]

    def high(self, index: int) -> int:
        return max(number for _, _, number in self.members(index))


def lowest_from(numbers: Sequence[int]) -> list[int]:
    """For each of these the lowest of it and all behind it."""
    return list(accumulate(reversed(numbers), min))[::-1]


def kept(whole: Origins, mask: Sequence[object], length: int) -> Origins:
    """The origins of the values whose mask is true."""
    return Part(whole, compress(range(len(mask)), mask), length)


def expanded(whole: Origins, counts: Sequence[int], length: int) -> Origins:
    """The origins of values of which each input gave ``counts`` many."""
    return Part(whole, chain.from_iterable(map(repeat, range(len(counts)), counts)), length)


NOTHING: Origins = Picked(())
"""The origins of no values."""
