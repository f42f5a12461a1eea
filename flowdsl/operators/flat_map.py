"""``flat_map``: each value becomes any number of values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic

from flowdsl.clock import Duration
from flowdsl.operators import checks
from flowdsl.operators.calling import Calling
from flowdsl.operators.slow import Asked, Scheduler, concurrency_of, parts
from flowdsl.plan.hints import FI, F_co, Hint1, T, U
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Chaining, put
from flowdsl.stages.flattening import FlatMapKernel, all_of
from flowdsl.stages.parts import Build, Part

if TYPE_CHECKING:
    from flowdsl.flow.flow import Flow


class FlatMap(Calling, Chaining, Generic[F_co]):
    """One value in, any number out."""

    word = "flat_map"

    @property
    def splits(self) -> bool:
        return True

    def __call__(self: FlatMap[Callable[[T], Iterable[U] | Awaitable[Iterable[U]]]], up: Flow[T], /) -> Flow[U]:
        flow: Flow[U] = put(self, up)
        return flow

    def lower(self, build: Build) -> tuple[Part, ...]:
        kernel = FlatMapKernel(build.step, build.handler, self.function)
        return parts(build, self.slow, kernel, self.function, all_of)


def flat_map(
    f: FI | Hint1,
    *,
    concurrency: int | None = None,
    scheduler: Scheduler | None = None,
    ordered: bool = True,
    key: Callable[[Any], object] | None = None,
    timeout: Duration | None = None,
    name: str | None = None,
    on_error: OnError | None = None,
) -> FlatMap[FI]:
    """Hand on every value of ``f(value)``: a list, a generator, any iterable.

    A value that becomes nothing still moves its offset. If a lazy result raises midway, none of its values goes on.
    ``concurrency``, ``scheduler``, ``ordered``, ``key``, ``timeout``: as for ``map_``; a lazy result is taken apart
    where the function runs.

    >>> from flowdsl import flat_map, from_iterable, to_list
    >>> (from_iterable(["a b", "", "c"]) | flat_map(str.split) | to_list()).run()
    ['a', 'b', 'c']
    """
    function = checks.function(f, "f", lazy=True, slow=True)
    slow = concurrency_of(function, Asked(concurrency, scheduler, ordered, key, timeout), finish=all_of)
    return FlatMap(function=function, slow=slow, name=name, on_error=error_policy(on_error))
