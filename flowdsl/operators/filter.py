"""``filter_``: the values that pass a test go on."""

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


class Filter(Calling, Keep[F_co]):
    """Values for which the function is true."""

    word = "filter_"
    role = Role.FILTER

    @property
    def drops(self) -> bool:
        return True


def filter_(
    p: F | Hint1,
    *,
    concurrency: int | None = None,
    scheduler: Scheduler | None = None,
    ordered: bool = True,
    key: Callable[[Any], object] | None = None,
    timeout: Duration | None = None,
    name: str | None = None,
    on_error: OnError | None = None,
) -> Keep[F]:
    """Hand on the values for which ``p(value)`` is true; the offsets of the others move all the same.

    ``concurrency``, ``scheduler``, ``ordered``, ``key``, ``timeout``: as for ``map_``.

    >>> from flowdsl import filter_, from_iterable, to_list
    >>> (from_iterable(range(6)) | filter_(lambda n: n % 2) | to_list()).run()
    [1, 3, 5]
    """
    function = checks.function(p, "p", slow=True)
    slow = concurrency_of(function, Asked(concurrency, scheduler, ordered, key, timeout))
    return Filter(function=function, slow=slow, name=name, on_error=error_policy(on_error))
