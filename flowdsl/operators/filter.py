"""``filter_``: the values that pass a test go on."""

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
        return (Call(build.step, build.handler, Role.FILTER, self.function),)


def filter_(p: F | Hint1, *, name: str | None = None, on_error: OnError | None = None) -> Keep[F]:
    """Hand on the values for which ``p(value)`` is true; the offsets of the others move all the same.

    >>> from flowdsl import filter_, from_iterable, to_list
    >>> (from_iterable(range(6)) | filter_(lambda n: n % 2) | to_list()).run()
    [1, 3, 5]
    """
    return Filter(function=checks.function(p, "p"), name=name, on_error=on_error)
