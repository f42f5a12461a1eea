"""``map_``: each value becomes what a function makes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, overload

from flowdsl.clock import Duration
from flowdsl.operators import checks
from flowdsl.operators.calling import Calling
from flowdsl.operators.slow import Asked, Scheduler, concurrency_of
from flowdsl.plan.hints import F, F_co, Hint1, T, U
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Chaining, put
from flowdsl.stages.calls import Role

if TYPE_CHECKING:
    from flowdsl.flow.flow import Flow


class Map(Calling, Chaining, Generic[F_co]):
    """One value in, one value out."""

    word = "map_"
    role = Role.MAP

    @overload
    def __call__(self: Map[Callable[[T], Awaitable[U]]], up: Flow[T], /) -> Flow[U]: ...
    @overload
    def __call__(self: Map[Callable[[T], U]], up: Flow[T], /) -> Flow[U]: ...
    def __call__(self, up: Any, /) -> Any:
        return put(self, up)


def map_(
    f: F | Hint1,
    *,
    concurrency: int | None = None,
    scheduler: Scheduler | None = None,
    ordered: bool = True,
    key: Callable[[Any], object] | None = None,
    timeout: Duration | None = None,
    name: str | None = None,
    on_error: OnError | None = None,
) -> Map[F]:
    """Hand on ``f(value)`` for each value.

    ``concurrency``: so many values at once, ``async def`` functions on an event loop of the flow's own, plain ones on
    threads, or on ``scheduler``: ``threads(n)``, ``processes(n)``, any scheduler of RxPY. ``ordered``: results leave in
    the order of the values; if False as they are ready. ``key``: values with the same ``key(value)`` one at a time and
    in order, others as they are ready. ``timeout``: seconds that a value may take before it is a failing record.

    After a crash ``f`` may be called again for values that were not done.

    >>> from flowdsl import from_iterable, map_, to_list
    >>> (from_iterable([1, 2, 3]) | map_(lambda n: n * n) | to_list()).run()
    [1, 4, 9]
    """
    function = checks.function(f, "f", slow=True)
    slow = concurrency_of(function, Asked(concurrency, scheduler, ordered, key, timeout))
    return Map(function=function, slow=slow, name=name, on_error=error_policy(on_error))
