"""``tap``: a look at each value as it passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from flowdsl.clock import Duration
from flowdsl.operators import checks
from flowdsl.operators.slow import Scheduler, concurrency_of, parts
from flowdsl.plan.concurrency import Concurrency
from flowdsl.plan.hints import F, F_co, Hint1
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Keep
from flowdsl.stages.calls import Call, Role
from flowdsl.stages.parts import Build, Part


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Tap(Keep[F_co]):
    """All values, after the function was called with each."""

    word = "tap"
    function: Callable[..., Any]
    slow: Concurrency | None = None

    def named_after(self) -> object:
        return self.function

    def lower(self, build: Build) -> tuple[Part, ...]:
        return parts(build, self.slow, Call(build.step, build.handler, Role.TAP, self.function), self.function)


def tap(
    f: F | Hint1,
    *,
    concurrency: int | None = None,
    scheduler: Scheduler | None = None,
    ordered: bool = True,
    key: Callable[[Any], object] | None = None,
    timeout: Duration | None = None,
    name: str | None = None,
    on_error: OnError | None = None,
) -> Keep[F]:
    """Call ``f(value)`` and hand the value on, whatever ``f`` returns.

    ``concurrency``, ``scheduler``, ``ordered``, ``key``, ``timeout``: as for ``map_``.

    >>> from flowdsl import from_iterable, tap, to_list
    >>> (from_iterable([1, 2]) | tap(print) | to_list()).run()
    1
    2
    [1, 2]
    """
    function = checks.function(f, "f", slow=True)
    slow = concurrency_of(
        function, concurrency=concurrency, scheduler=scheduler, ordered=ordered, key=key, timeout=timeout
    )
    return Tap(function=function, slow=slow, name=name, on_error=error_policy(on_error))
