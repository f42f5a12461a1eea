"""``filter_``: the values that pass a test go on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
from typing import Any

from attrs import frozen

from flowdsl.chunks import Chunk, kept
from flowdsl.operators import checks
from flowdsl.plan.hints import F, F_co, Hint1
from flowdsl.plan.policy import OnError
from flowdsl.plan.shapes import Keep
from flowdsl.stages.kernel import CallKernel, Unusable, refuse_awaitables
from flowdsl.stages.parts import Build, Part


@frozen(kw_only=True)
class Filter(Keep[F_co]):
    """Values for which the function is true."""

    word = "filter_"
    function: Callable[..., Any]

    @property
    def drops(self) -> bool:
        return True

    def named_after(self) -> object:
        return self.function

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (FilterKernel(build.step, build.handler, self.function),)


def filter_(p: F | Hint1, *, name: str | None = None, on_error: OnError | None = None) -> Keep[F]:
    """Hand on the values for which ``p(value)`` is true; the offsets of the others move all the same.

    >>> from flowdsl import filter_, from_iterable, to_list
    >>> (from_iterable(range(6)) | filter_(lambda n: n % 2) | to_list()).run()
    [1, 3, 5]
    """
    return Filter(function=checks.function(p, "p"), name=name, on_error=on_error)


class FilterKernel(CallKernel):
    """The values go on for which the result is true."""

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        mask = results if set(map(type, results)) <= {bool} else self._truth(results)
        passed = list(compress(chunk.values, mask))
        if len(passed) == len(mask):
            return chunk
        return Chunk(passed, chunk.mark, kept(chunk.origins, mask, len(passed)))

    def _truth(self, results: list[Any]) -> list[bool]:
        refuse_awaitables(results)
        mask: list[bool] = []
        for index, result in enumerate(results):
            try:
                mask.append(bool(result))
            except Exception as error:  # a user's __bool__
                raise Unusable(index, error) from error
        return mask
