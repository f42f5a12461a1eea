"""``batch``: lists of values that travel on together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from flowdsl.clock import Duration, optional_seconds
from flowdsl.interface import arguments
from flowdsl.plan.fragment import Fragment, compose
from flowdsl.plan.hints import T, X
from flowdsl.plan.nodes import Operator
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import put
from flowdsl.stages.grouping import Grouping, all_values
from flowdsl.stages.parts import Build, Collecting, Part

if TYPE_CHECKING:
    from flowdsl.flow.flow import Flow
    from flowdsl.plan.hints import D, Z


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Batch(Operator):
    """Lists of at most ``size`` values; ``within`` in seconds."""

    word = "batch"
    size: int
    within: float | None = None

    @property
    def groups(self) -> bool:
        return True

    @property
    def holds(self) -> bool:
        return True

    def __call__(self, up: Flow[T], /) -> Flow[list[T]]:
        flow: Flow[list[T]] = put(self, up)
        return flow

    def __or__(self, op: Callable[[Flow[list[D]]], Z], /) -> Fragment[Flow[D], Z]:
        return compose(self, op)

    def __ror__(self, first: Callable[[X], Flow[T]], /) -> Fragment[X, Flow[list[T]]]:
        return compose(first, self)

    def lower(self, build: Build) -> tuple[Part, ...]:
        step = build.step
        return (Collecting(Grouping(self.size, self.within, all_values, clock=step.clock, count=step.count)),)


def batch(
    size: int,
    *,
    within: Duration | None = None,
    name: str | None = None,
    on_error: OnError | None = None,
) -> Batch:
    """Hand on lists of ``size`` values, and the last one with what is left.

    A list leaves early, ``within`` seconds after its first value. Offsets move when the whole list is done; after a
    crash its records are read again, and may be grouped in another way.

    >>> from flowdsl import batch, from_iterable, to_list
    >>> (from_iterable(range(5)) | batch(2) | to_list()).run()
    [[0, 1], [2, 3], [4]]
    """
    return Batch(
        size=arguments.count(size, "size"),
        within=optional_seconds(within, "within"),
        name=name,
        on_error=error_policy(on_error),
    )
