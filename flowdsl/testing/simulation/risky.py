"""Steps whose functions are slow or fail, at any of their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.stages.calls import Call
from flowdsl.stages.kernel import Done, Fusable, Kernel


def risky(step: Fusable, risk: Callable[[], None]) -> Fusable:
    """The same step, with a function that may be slow or fail, at any of the values."""
    if isinstance(step, Kernel):
        return RiskyKernel(step, risk)
    if isinstance(step, Call) and step.function is not None:
        return Call(step.step, step.handler, step.role, _risked(step.function, risk))
    return step


def _risked(function: Callable[[Any], Any], risk: Callable[[], None]) -> Callable[[Any], Any]:
    def risked(value: Any) -> Any:
        risk()
        return function(value)

    return risked


class RiskyKernel(Kernel):
    """A kernel whose function may be slow or fail, at any of the values."""

    def __init__(self, kernel: Kernel, risk: Callable[[], None]) -> None:
        super().__init__(kernel.step, kernel.handler)
        self._kernel, self._risk = kernel, risk
        self.takes_all, self.whole = kernel.takes_all, kernel.whole
        self.ended = kernel.ended

    def inputs(self, chunk: Chunk[Any]) -> list[Any]:
        return self._kernel.inputs(chunk)

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        self._kernel.apply(self._risked(inputs), done)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        out = self._kernel.finish(chunk, results)
        self.ended = self._kernel.ended
        return out

    def emitted(self, out: Chunk[Any]) -> int:
        return self._kernel.emitted(out)

    def _risked(self, inputs: Iterator[Any]) -> Iterator[Any]:
        for value in inputs:
            self._risk()
            yield value
