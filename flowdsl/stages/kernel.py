"""Kernels: what a fused step does with the values of one chunk.

User code is called from a ``for`` body and from nowhere else: ``map`` and its like take a StopIteration that escapes
from it for the end of the input, silently.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.errors import refuse_awaitable
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler

Done = Callable[[Any], None]


class Unusable(Exception):  # noqa: N818  # never leaves the stages
    """A result that was computed cannot be used. ``index``: which one; ``error``: why."""

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(index, error)
        self.index, self.error = index, error


class Fusable:
    """One step that neither waits nor holds values. Its logic is made fresh for each assignment."""

    whole = False
    """Whether the values of a chunk fail together."""

    def __init__(self, step: StepContext, handler: Handler) -> None:
        self.step, self.handler = step, handler


class Kernel(Fusable, ABC):
    """A step that works on one chunk at a time."""

    takes_all = False
    """Whether it wants the values of a chunk in one piece, even when time is short."""

    def __init__(self, step: StepContext, handler: Handler) -> None:
        super().__init__(step, handler)
        self.ended = False
        """Set once nothing after what was handed on is wanted."""

    def inputs(self, chunk: Chunk[Any]) -> list[Any]:
        """What ``apply`` is given for each value."""
        return chunk.values

    @abstractmethod
    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        """Call ``done`` once for every input, in order, with what came of it. May raise anything, at any input."""

    @abstractmethod
    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        """What goes on, given what came of each value. Raises Unusable, and then has changed nothing."""

    def emitted(self, out: Chunk[Any]) -> int:
        """How many values left the step, for the statistics."""
        return len(out.values)


class CallKernel(Kernel):
    """One call of a user's function per value, and more to do with its result than ``stages/calls.py`` knows."""

    def __init__(self, step: StepContext, handler: Handler, function: Callable[[Any], Any]) -> None:
        super().__init__(step, handler)
        self._function = function


def refuse_awaitables(results: Sequence[Any]) -> None:
    """Raise Unusable for the first awaitable among the results; costs no bytecode per result."""
    kinds = set(map(type, results))
    for kind in kinds:
        if hasattr(kind, "__await__"):
            index = next(at for at, result in enumerate(results) if isinstance(result, kind))
            try:
                refuse_awaitable(results[index])
            except TypeError as error:
                raise Unusable(index, error) from error
