"""``unbatch``: the values of lists, one by one again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from flowdsl.plan.fragment import Fragment, compose
from flowdsl.plan.hints import T, X
from flowdsl.plan.nodes import Operator
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import put
from flowdsl.stages.flattening import FlatMapKernel
from flowdsl.stages.parts import Build, Part

if TYPE_CHECKING:
    from flowdsl.flow.flow import Flow
    from flowdsl.plan.hints import D, Z


class Unbatch(Operator):
    """The values of each iterable."""

    word = "unbatch"

    def __call__(self, up: Flow[Iterable[T]], /) -> Flow[T]:
        flow: Flow[T] = put(self, up)
        return flow

    def __or__(self, op: Callable[[Flow[D]], Z], /) -> Fragment[Flow[Iterable[D]], Z]:
        return compose(self, op)

    def __ror__(self, first: Callable[[X], Flow[Iterable[T]]], /) -> Fragment[X, Flow[T]]:
        return compose(first, self)

    @property
    def splits(self) -> bool:
        return True

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (FlatMapKernel(build.step, build.handler, _itself),)


def unbatch(*, name: str | None = None, on_error: OnError | None = None) -> Unbatch:
    """Hand on the values of each list, or other iterable; offsets move with the last value of each.

    >>> from flowdsl import batch, from_iterable, to_list, unbatch
    >>> (from_iterable(range(3)) | batch(2) | unbatch() | to_list()).run()
    [0, 1, 2]
    """
    return Unbatch(name=name, on_error=error_policy(on_error))


def _itself(values: Iterable[T]) -> Iterable[T]:
    return values
