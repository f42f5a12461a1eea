"""``map_``: each value becomes what a function makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic

from attrs import frozen

from flowdsl.operators import checks
from flowdsl.plan.hints import F, F_co, Hint1, T, U
from flowdsl.plan.policy import OnError
from flowdsl.plan.shapes import Chaining, put
from flowdsl.stages.calls import Call, Role
from flowdsl.stages.parts import Build, Part

if TYPE_CHECKING:
    from flowdsl.flow.flow import Flow


@frozen(kw_only=True)
class Map(Chaining, Generic[F_co]):
    """One value in, one value out."""

    word = "map_"
    function: Callable[..., Any]

    def __call__(self: Map[Callable[[T], U]], up: Flow[T], /) -> Flow[U]:
        flow: Flow[U] = put(self, up)
        return flow

    def named_after(self) -> object:
        return self.function

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (Call(build.step, build.handler, Role.MAP, self.function),)


def map_(f: F | Hint1, *, name: str | None = None, on_error: OnError | None = None) -> Map[F]:
    """Hand on ``f(value)`` for each value.

    After a crash ``f`` may be called again for values that were not done.

    >>> from flowdsl import from_iterable, map_, to_list
    >>> (from_iterable([1, 2, 3]) | map_(lambda n: n * n) | to_list()).run()
    [1, 4, 9]
    """
    return Map(function=checks.function(f, "f"), name=name, on_error=on_error)
