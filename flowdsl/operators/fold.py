"""``fold``: groups of values, each reduced to one as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, overload

from attrs import frozen

from flowdsl.chunks import Chunk
from flowdsl.clock import Duration, optional_seconds
from flowdsl.errors import refuse_awaitable
from flowdsl.interface import arguments
from flowdsl.operators import checks
from flowdsl.plan.hints import F_co, G, Hint2, S, S_co
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Reducing
from flowdsl.stages.context import StepContext, StepCount
from flowdsl.stages.failures import Handler
from flowdsl.stages.grouping import Grouping
from flowdsl.stages.kernel import Done, Kernel
from flowdsl.stages.parts import Build, Collecting, Part
from flowdsl.stages.states import fresh


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Fold(Reducing[F_co, S_co]):
    """The state after each group; ``within`` in seconds."""

    word = "fold"
    by_keyword = ("size",)
    function: Callable[..., Any]
    initial: Any
    size: int
    within: float | None = None

    @property
    def groups(self) -> bool:
        return True

    @property
    def holds(self) -> bool:
        return True

    def named_after(self) -> object:
        return self.function

    def lower(self, build: Build) -> tuple[Part, ...]:
        step = build.step

        def last_state(states: list[Any]) -> Any:
            step.count.emitted += 1
            return states[-1]

        inner = StepCount(step.name)  # the kernel in front counts what is received, failed ones included
        grouping = Grouping(self.size, self.within, last_state, clock=step.clock, count=inner)
        return (FoldKernel(step, build.handler, self, grouping), Collecting(grouping))


@overload
def fold(
    f: G | Hint2,
    initial: Callable[[], S],
    *,
    size: int,
    within: Duration | None = ...,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Fold[G, S]: ...
@overload
def fold(
    f: G | Hint2,
    initial: S,
    *,
    size: int,
    within: Duration | None = ...,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Fold[G, S]: ...
def fold(
    f: Any,
    initial: Any,
    *,
    size: int,
    within: Duration | None = None,
    name: str | None = None,
    on_error: OnError | None = None,
) -> Any:
    """Reduce groups of ``size`` values to one each with ``f(state, value)``; a group keeps no values, only its state.

    A group leaves early, ``within`` seconds after its first value. ``initial`` is an immutable value or a function
    without arguments; every group begins with a fresh one. Offsets move when the group is done.

    >>> from flowdsl import fold, from_iterable, to_list
    >>> (from_iterable(range(5)) | fold(lambda total, n: total + n, 0, size=2) | to_list()).run()
    [1, 5, 4]
    """
    node: Fold[Any, Any] = Fold(
        function=checks.function(f, "f"),
        initial=checks.initial(initial, "initial"),
        size=arguments.count(size, "size"),
        within=optional_seconds(within, "within"),
        name=name,
        on_error=error_policy(on_error),
    )
    return node


class FoldKernel(Kernel):
    """Replaces each value by the state of its group so far; the grouping behind it hands on the last of each."""

    def __init__(self, step: StepContext, handler: Handler, node: Fold[Any, Any], grouping: Grouping) -> None:
        super().__init__(step, handler)
        self._function, self._fresh, self._size = node.function, fresh(node.initial), node.size
        self._grouping = grouping
        self._state: Any = None
        self._ahead = 0

    def inputs(self, chunk: Chunk[Any]) -> list[Any]:
        self._ahead = self._grouping.held
        return chunk.values

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        function = self._function
        for value in inputs:
            if self._ahead in (0, self._size):
                self._state, self._ahead = self._fresh(), 0
            state = function(self._state, value)
            if hasattr(state, "__await__"):
                refuse_awaitable(state)
            self._state = state
            self._ahead += 1
            done(state)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        return Chunk(results, chunk.mark, chunk.origins)

    def emitted(self, out: Chunk[Any]) -> int:  # noqa: ARG002  # groups are what leaves
        return 0
