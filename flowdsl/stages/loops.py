"""Which neighbouring calls are one loop: as many as there are, up to one before which something waits."""

from __future__ import annotations

from collections.abc import Sequence

from flowdsl.stages.calls import Call, Loop
from flowdsl.stages.kernel import Fusable, Kernel


class Loops:
    """The loops of a segment, made when they are needed."""

    def __init__(self, kernels: Sequence[Fusable]) -> None:
        self._kernels = kernels
        self._made: dict[tuple[int, frozenset[int]], Loop | Kernel] = {}

    def at(self, index: int, waits: frozenset[int]) -> Loop | Kernel:
        """The kernel there, or all calls from there on. ``waits``: where something waits that may have to be met."""
        key = index, waits
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(index, waits)
        return made

    def _make(self, index: int, waits: frozenset[int]) -> Loop | Kernel:
        kernels = self._kernels
        first = kernels[index]
        if isinstance(first, Kernel):
            return first
        stops = (at for at in range(index + 1, len(kernels)) if isinstance(kernels[at], Kernel) or at in waits)
        calls = kernels[index : next(stops, len(kernels))]
        return Loop([each for each in calls if isinstance(each, Call)])
