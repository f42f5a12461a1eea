"""``broadcast``: each value goes to every branch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, overload

from flowdsl.operators.branching import Branching, branch, counted, split
from flowdsl.plan.fragment import Fragment
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.stages.branches import Splitter, to_all
from flowdsl.stages.parts import Build, Part, Standing

if TYPE_CHECKING:
    from flowdsl.flow.flow import ClosedFlow, Flow
    from flowdsl.flow.stats import Stats
    from flowdsl.operators.route import Ends, GoesOn
    from flowdsl.plan.hints import D, E


class Broadcast(Branching):
    """All branches for each value."""

    word = "broadcast"

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (Standing(Splitter, partial(split, build, counted(build, to_all(len(self.ways))))),)


@overload
def broadcast(
    *branches: Ends[D], name: str | None = ..., on_error: OnError | None = ...
) -> Fragment[D, ClosedFlow[Stats]]: ...
@overload
def broadcast(
    *branches: GoesOn[D, E], name: str | None = ..., on_error: OnError | None = ...
) -> Fragment[D, Flow[E]]: ...
def broadcast(*branches: Any, name: str | None = None, on_error: OnError | None = None) -> Any:
    """Hand each value to all branches; its offset moves when all are done with it.

    Branches all end in sinks, and the flow is closed, or none does, and what leaves them goes on together; then the
    order holds within a branch only.

    >>> from flowdsl import broadcast, from_iterable, map_, to_list
    >>> sorted((from_iterable([1, 2]) | broadcast(map_(str), map_(float)) | to_list()).run(), key=str)
    ['1', 1.0, '2', 2.0]
    """
    if not branches:
        msg = "branches must not be empty: broadcast(a, b) needs at least one operator"
        raise ValueError(msg)
    ways = tuple(branch(str(number), operator) for number, operator in enumerate(branches, 1))
    return Broadcast(ways=ways, name=name, on_error=error_policy(on_error))
