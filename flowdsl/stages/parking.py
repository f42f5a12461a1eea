"""Values set aside until they are tried again, in a segment that goes on without them.

What comes later of the same partitions, and reaches the same kernel, waits behind them: order within a partition is
kept. Nothing may leave the segment with a mark above the lowest record that waits here.
"""

from __future__ import annotations

from copy import copy
from math import inf
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.origins import Part
from flowdsl.stages.kernel import Fusable
from flowdsl.stages.work import Work
from flowdsl.types import Partition

NONE = frozenset[int]()


class Parking:
    """What waits, in the order in which it came."""

    def __init__(self) -> None:
        self.works: list[Work] = []

    def set_aside(self, work: Work, kernel: Fusable) -> list[Work]:
        """Park a failed value if it is to be tried again; returns what is to be done now: it, or what is behind it."""
        again_at = None if work.failure is None else kernel.handler.again(work.failure)
        if again_at is None:
            return [work]
        rest: list[Work] = []
        if not kernel.whole:
            rest = [Work(work.index, work.chunk.tail(1), work.results)]
            work.chunk, work.results = work.chunk.head(1), []
        self.park(work, again_at)
        return rest

    def park(self, work: Work, again_at: float) -> None:
        """Keep this until then."""
        work.again_at, work.failure = again_at, None
        self._keep(work)

    def keep_behind(self, work: Work) -> Work | None:
        """Keep what must not pass those that wait before the same kernel; returns what may go on."""
        held = self._held(work.index)
        if not held:
            return work
        lanes = partitions_of(work.chunk)
        waits = [not lane.isdisjoint(held) for lane in lanes]
        if not any(waits):
            return work
        behind = list[int]()
        for at, lane in enumerate(lanes):
            if not lane.isdisjoint(held):
                behind.append(at)
                held |= lane
        if len(behind) == len(lanes):
            self._keep(work)
            return None
        self._keep(_picked(work, behind))
        taken = set(behind)
        return _picked(work, [at for at in range(len(lanes)) if at not in taken])

    def due(self, now: float) -> list[Work]:
        """Take out what is to be tried now, and what waits behind it. No mark is above what comes later.

        Of a partition what is further on came first: at later kernels, and among those of one in the order of arrival.
        """
        kernels = {work.index for work in self.works if work.again_at is not None and work.again_at <= now}
        out, rest = list[Work](), list[Work]()
        for work in self.works:
            is_due = work.index in kernels and (work.again_at is None or work.again_at <= now)
            (out if is_due else rest).append(work)
        self.works = rest
        out.sort(key=lambda work: -work.index)
        lowest: float = inf
        for work in reversed(out):
            work.chunk = copy(work.chunk)
            work.chunk.mark = int(min(work.chunk.mark, lowest))
            lowest = min(lowest, work.chunk.origins.low(0))
        return out

    def next(self) -> float | None:
        """When something is to be tried again."""
        if not self.works:
            return None
        return min((work.again_at for work in self.works if work.again_at is not None), default=None)

    def is_worth_waiting_for(self, until: float | None) -> bool:
        """Whether something is to be tried again before that moment; None: whenever."""
        again = self.next()
        return again is not None and (until is None or again <= until)

    def floor(self, top: int) -> int:
        """The lowest number of a record that waits; ``top`` where none does."""
        if not self.works:
            return top
        return min(work.chunk.origins.low(0) for work in self.works)

    @property
    def kernels(self) -> frozenset[int]:
        """Before which of them something waits."""
        return frozenset(work.index for work in self.works) if self.works else NONE

    def _held(self, index: int) -> set[Partition]:
        return set[Partition]().union(*(work.lanes for work in self.works if work.index == index))

    def _keep(self, work: Work) -> None:
        work.lanes = set[Partition]().union(*partitions_of(work.chunk))
        self.works.append(work)


def partitions_of(chunk: Chunk[Any]) -> list[set[Partition]]:
    """The partitions that each value came from."""
    partition = chunk.origins.partition
    if partition is not None:
        return [{partition}] * len(chunk)
    members = map(chunk.origins.members, range(len(chunk)))
    return [{window.place(position)[0] for window, position, _ in of_value} for of_value in members]


def _picked(work: Work, positions: list[int]) -> Work:
    """Some of the values, with what is known of them."""
    chunk = work.chunk
    picked = Work(work.index, Chunk([chunk.values[at] for at in positions], chunk.mark, Part(chunk.origins, positions)))
    picked.results = [work.results[at] for at in positions if at < len(work.results)]
    return picked
