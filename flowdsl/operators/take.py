"""``take``: the first values, and then the run ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from flowdsl.chunks import Chunk
from flowdsl.interface import arguments
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Same
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import Done, Kernel
from flowdsl.stages.parts import Build, Part


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Take(Same):
    """The first ``n`` values."""

    word = "take"
    n: int

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (TakeKernel(build.step, build.handler, self.n),)


def take(n: int, *, name: str | None = None, on_error: OnError | None = None) -> Same:
    """Hand on ``n`` values and end the run; the records that these complete are committed, and no more.

    Not inside a branch.

    >>> from flowdsl import from_iterable, take, to_list
    >>> (from_iterable(range(1000)) | take(3) | to_list()).run()
    [0, 1, 2]
    """
    return Take(n=arguments.count(n, "n"), name=name, on_error=error_policy(on_error))


class TakeKernel(Kernel):
    """Counts over all assignments of a run: what it counted is kept where the next one finds it."""

    def __init__(self, step: StepContext, handler: Handler, n: int) -> None:
        super().__init__(step, handler)
        self._n = n
        self._taken = step.run.taken
        self._taken.setdefault(step.name, 0)
        self.ended = self._taken[step.name] >= n

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        for value in inputs:
            done(value)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:  # noqa: ARG002  # the values themselves
        wanted = self._n - self._taken[self.step.name]
        if len(chunk) < wanted:
            self._taken[self.step.name] += len(chunk)
            return chunk
        self._taken[self.step.name] = self._n
        self.ended = True
        self.step.run.finish()
        return self._last(chunk, wanted)

    def _last(self, chunk: Chunk[Any], wanted: int) -> Chunk[Any]:
        """The values that are wanted, and the records that they complete: nothing that was filtered behind them."""
        origins = chunk.origins
        if not wanted:
            return Chunk([], 0, origins.part(0, 0))
        through = origins.high(wanted - 1) + 1
        mark = through if wanted == len(chunk) else min(through, origins.low(wanted))
        return Chunk(chunk.values[:wanted], min(mark, chunk.mark), origins.part(0, wanted))
