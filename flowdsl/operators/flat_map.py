"""``flat_map``: each value becomes any number of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic

from attrs import frozen

from flowdsl.operators import checks
from flowdsl.plan.hints import FI, F_co, Hint1, T, U
from flowdsl.plan.policy import OnError
from flowdsl.plan.shapes import Chaining, put
from flowdsl.stages.flattening import FlatMapKernel
from flowdsl.stages.parts import Build, Part

if TYPE_CHECKING:
    from flowdsl.flow.flow import Flow


@frozen(kw_only=True)
class FlatMap(Chaining, Generic[F_co]):
    """One value in, any number out."""

    word = "flat_map"
    function: Callable[..., Any]

    def __call__(self: FlatMap[Callable[[T], Iterable[U]]], up: Flow[T], /) -> Flow[U]:
        flow: Flow[U] = put(self, up)
        return flow

    def named_after(self) -> object:
        return self.function

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (FlatMapKernel(build.step, build.handler, self.function),)


def flat_map(f: FI | Hint1, *, name: str | None = None, on_error: OnError | None = None) -> FlatMap[FI]:
    """Hand on every value of ``f(value)``: a list, a generator, any iterable.

    A value that becomes nothing still moves its offset. If a lazy result raises midway, none of its values goes on.

    >>> from flowdsl import flat_map, from_iterable, to_list
    >>> (from_iterable(["a b", "", "c"]) | flat_map(str.split) | to_list()).run()
    ['a', 'b', 'c']
    """
    return FlatMap(function=checks.function(f, "f", lazy=True), name=name, on_error=on_error)
