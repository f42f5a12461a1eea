"""Groups of values: what ``batch`` and ``fold`` hold until a group is full or its time is up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.clock import Clock
from flowdsl.origins import Member, Origins, Picked, lowest_from
from flowdsl.records import Records
from flowdsl.stages.context import StepCount

SPARSE = 8
"""A group does not keep more than so many times its own number of records alive."""
FEW, FEW_BYTES = 50_000, 64 * 1024 * 1024
"""Nor does it care about so few, and so little."""

Piece = tuple[Origins, int, int]


class Grouped(Origins):
    """Where groups came from. Each is made of pieces: some consecutive values of some chunks."""

    __slots__ = ("_groups", "_known", "_lows")

    def __init__(self, groups: list[list[Piece]]) -> None:
        self._groups = groups
        self._lows: list[int] | None = None
        self._known: tuple[int, list[Member]] = (-1, [])

    def __len__(self) -> int:
        return len(self._groups)

    def low(self, index: int) -> int:
        if self._lows is None:
            self._lows = lowest_from([min(origins.low(start) for origins, start, _ in group) for group in self._groups])
        return self._lows[index]

    def high(self, index: int) -> int:
        return max(number for _, _, number in self.members(index))

    def members(self, index: int) -> list[Member]:
        """Those of the last group that was asked for are kept: all that is made of it asks for them, one by one."""
        if self._known[0] != index:
            pieces = self._groups[index]
            found = {member[2]: member for piece in pieces for member in piece[0].between(*piece[1:])}
            self._known = index, list(found.values())
        return self._known[1]


class Grouping:
    """Collects values into groups of ``size``. ``make`` turns the values of a group into what goes on."""

    drops_unfinished = True

    def __init__(
        self,
        size: int,
        within: float | None,
        make: Callable[[list[Any]], Any],
        *,
        clock: Clock,
        count: StepCount,
    ) -> None:
        self._size, self._within, self._make, self._clock, self._count = size, within, make, clock, count
        self._values: list[Any] = []
        self._pieces: list[Piece] = []
        self._slim = 0
        """How many of the pieces keep no more alive than they need."""
        self._from = 0
        """The others keep alive no records before this number."""
        self._since: float | None = None
        self._mark = 0

    @property
    def held(self) -> int:
        """How many values wait for their group to be full."""
        return len(self._values)

    def add(self, chunk: Chunk[Any]) -> Sequence[Chunk[Any]]:
        before, self._mark = self._mark, chunk.mark
        if not chunk.values:
            return () if self._values else (chunk,)
        groups: list[Any] = []
        origins: list[list[Piece]] = []
        start, end = 0, len(chunk.values)
        self._count.received += end
        while end - start >= self._size - len(self._values):
            stop = start + self._size - len(self._values)
            self._hold(chunk, start, stop, before)
            groups.append(self._take(origins))
            start = stop
        if start < end:
            self._hold(chunk, start, end, before)
        if not groups:
            return ()
        self._count.emitted += len(groups)
        mark = chunk.mark if start == end else min(chunk.mark, chunk.origins.low(start))
        return (Chunk(groups, mark, Grouped(origins)),)

    def advance(self) -> Sequence[Chunk[Any]]:
        deadline = self.deadline()
        return self.flush() if deadline is not None and self._clock() >= deadline else ()

    def flush(self) -> Sequence[Chunk[Any]]:
        if not self._values:
            return ()
        origins: list[list[Piece]] = []
        group = self._take(origins)
        self._count.emitted += 1
        return (Chunk([group], self._mark, Grouped(origins)),)

    def deadline(self) -> float | None:
        return None if self._since is None or self._within is None else self._since + self._within

    def _hold(self, chunk: Chunk[Any], start: int, stop: int, before: int) -> None:
        """Add these values of a chunk. ``before``: the mark of what came before it."""
        if start == stop:
            return
        if self._values:
            self._values += chunk.values if stop - start == len(chunk.values) else chunk.values[start:stop]
        else:
            self._values, self._from = chunk.values[start:stop], before
            if self._within is not None:
                self._since = self._clock()
        self._pieces.append((chunk.origins, start, stop))
        alive = chunk.mark - self._from
        if len(self._pieces) == 1 or alive <= SPARSE * len(self._values):
            return  # of one chunk, which is alive anyhow, or dense
        if are_many(alive, chunk.origins.members(start)[0][0]):
            self._slim_down(chunk.mark)

    def _slim_down(self, mark: int) -> None:
        """Let go of the records that passed by and are not in the group."""
        self._pieces[self._slim :] = [slim(piece) for piece in self._pieces[self._slim :]]
        self._slim, self._from = len(self._pieces), mark

    def _take(self, origins: list[list[Piece]]) -> Any:
        values, pieces = self._values, self._pieces
        self._values, self._pieces, self._since, self._slim = [], [], None, 0
        origins.append(pieces)
        return self._make(values)


def are_many(count: int, like: Records) -> bool:
    """Whether so many records, as large as these, are too many to be kept alive for a few of them."""
    return count > FEW or count * like.nbytes() > FEW_BYTES * len(like)


def slim(piece: Piece) -> Piece:
    """The same piece, which keeps its own records alive and no others."""
    origins, start, stop = piece
    members = [
        [(window.window(position, position + 1), 0, number) for window, position, number in origins.members(index)]
        for index in range(start, stop)
    ]
    return Picked(members), 0, stop - start


def all_values(values: list[Any]) -> list[Any]:
    """What a batch hands on of a group."""
    return values
