"""``tap``: a look at each value as it passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowdsl.clock import Duration
from flowdsl.operators import checks
from flowdsl.operators.calling import Calling
from flowdsl.operators.slow import Asked, Scheduler, concurrency_of
from flowdsl.plan.hints import F, F_co, Hint1
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Keep
from flowdsl.stages.calls import Role


class Tap(Calling, Keep[F_co]):
    """All values, after the function was called with each."""

    word = "tap"
    role = Role.TAP


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
    slow = concurrency_of(function, Asked(concurrency, scheduler, ordered, key, timeout))
    return Tap(function=function, slow=slow, name=name, on_error=error_policy(on_error))
