"""``tap``: a look at each value as it passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from flowdsl.operators import checks
from flowdsl.plan.hints import F, F_co, Hint1
from flowdsl.plan.policy import OnError
from flowdsl.plan.shapes import Keep
from flowdsl.stages.calls import Call, Role
from flowdsl.stages.parts import Build, Part


@frozen(kw_only=True)
class Tap(Keep[F_co]):
    """All values, after the function was called with each."""

    word = "tap"
    function: Callable[..., Any]

    def named_after(self) -> object:
        return self.function

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (Call(build.step, build.handler, Role.TAP, self.function),)


def tap(f: F | Hint1, *, name: str | None = None, on_error: OnError | None = None) -> Keep[F]:
    """Call ``f(value)`` and hand the value on, whatever ``f`` returns.

    >>> from flowdsl import from_iterable, tap, to_list
    >>> (from_iterable([1, 2]) | tap(print) | to_list()).run()
    1
    2
    [1, 2]
    """
    return Tap(function=checks.function(f, "f"), name=name, on_error=on_error)
