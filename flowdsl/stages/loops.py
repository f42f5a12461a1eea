"""Which neighbouring calls are one loop: as many as there are, up to one before which something waits."""

from __future__ import annotations

from collections.abc import Sequence

from flowdsl.stages.calls import Call, Loop
from flowdsl.stages.kernel import Fusable, Kernel


class Loops:
    """The loops of a segment, made when they are needed."""

    def __init__(self, kernels: Sequence[Fusable]) -> None:
        self._kernels = kernels
        self._made: dict[tuple[int, frozenset[int]], Loop] = {}

    def at(self, index: int, waits: frozenset[int]) -> Loop:
        """The calls from there on. ``waits``: kernels before which something waits, so that it may have to be met."""
        key = index, waits
        if key not in self._made:
            kernels = self._kernels
            stops = (at for at in range(index + 1, len(kernels)) if isinstance(kernels[at], Kernel) or at in waits)
            calls = kernels[index : next(stops, len(kernels))]
            self._made[key] = Loop([each for each in calls if isinstance(each, Call)])
        return self._made[key]
