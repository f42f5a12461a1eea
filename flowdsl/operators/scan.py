"""``scan``: a state that every value moves on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, overload

from attrs import frozen

from flowdsl.chunks import Chunk
from flowdsl.errors import refuse_awaitable
from flowdsl.operators import checks
from flowdsl.plan.hints import F_co, G, Hint2, S, S_co
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Reducing
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import Done, Kernel
from flowdsl.stages.parts import Build, Part
from flowdsl.stages.states import fresh, lanes
from flowdsl.types import PerState


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Scan(Reducing[F_co, S_co]):
    """The state after each value."""

    word = "scan"
    function: Callable[..., Any]
    initial: Any
    per: PerState = "partition"

    def named_after(self) -> object:
        return self.function

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (ScanKernel(build.step, build.handler, self),)


@overload
def scan(
    f: G | Hint2,
    initial: Callable[[], S],
    *,
    per: PerState = ...,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Scan[G, S]: ...
@overload
def scan(
    f: G | Hint2,
    initial: S,
    *,
    per: PerState = ...,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Scan[G, S]: ...
def scan(
    f: Any,
    initial: Any,
    *,
    per: PerState = "partition",
    name: str | None = None,
    on_error: OnError | None = None,
) -> Any:
    """Hand on the state after each value: ``f(state, value)``, beginning with ``initial``.

    ``initial`` is an immutable value, or a function without arguments that gives a fresh one: ``dict``. There is a
    state per partition, or with ``per="flow"`` one for all. It lives in memory, as long as the partition is assigned,
    and starts anew for a partition that is read again from an earlier offset.

    >>> from flowdsl import from_iterable, scan, to_list
    >>> (from_iterable([1, 2, 3]) | scan(lambda total, n: total + n, 0) | to_list()).run()
    [1, 3, 6]
    """
    node: Scan[Any, Any] = Scan(
        function=checks.function(f, "f"),
        initial=checks.initial(initial, "initial"),
        per=checks.choice(per, "per", ("partition", "flow")),
        name=name,
        on_error=error_policy(on_error),
    )
    return node


class ScanKernel(Kernel):
    """Keeps the states of one assignment where the next one finds them."""

    def __init__(self, step: StepContext, handler: Handler, node: Scan[Any, Any]) -> None:
        super().__init__(step, handler)
        self._function, self._fresh = node.function, fresh(node.initial)
        self._per: PerState = node.per
        self._states = step.run.states.setdefault(step.name, {})

    def inputs(self, chunk: Chunk[Any]) -> list[Any]:
        return list(zip(lanes(chunk, self._per), chunk.values, strict=True))

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        function, states = self._function, self._states
        for lane, value in inputs:
            before = states[lane] if lane in states else self._fresh()
            after = function(before, value)
            if hasattr(after, "__await__"):
                refuse_awaitable(after)
            states[lane] = after
            done(after)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        return Chunk(results, chunk.mark, chunk.origins)
