"""``route``: each value goes to the branch of its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, overload

from attrs import frozen

from flowdsl.chunks import Chunk
from flowdsl.errors import refuse_awaitable, shown
from flowdsl.operators import checks
from flowdsl.operators.branching import Branching, branch, split
from flowdsl.plan.hints import F, F_co, Hint1, T, X_contra, Y_co
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import put
from flowdsl.stages.branches import Addressed, Splitter, to_addressed
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import CallKernel, Done
from flowdsl.stages.parts import Build, Part, Standing

if TYPE_CHECKING:
    from flowdsl.flow.flow import ClosedFlow, Flow
    from flowdsl.flow.stats import Stats
    from flowdsl.plan.hints import D, E, Z

    Ends = Callable[[D], ClosedFlow[Stats]]
    GoesOn = Callable[[D], Flow[E]]


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Route(Branching, Generic[F_co, X_contra, Y_co]):
    """One branch for each value: ``ways[i]`` for ``keys[i]``; one that has no key, the last, takes what is left."""

    word = "route"
    hidden = (*Branching.hidden, "keys")
    function: Callable[..., Any]
    keys: tuple[Any, ...]

    def __call__(self: Route[Callable[[T], object], Flow[T], Z], up: Flow[T], /) -> Z:
        flow: Z = put(self, up)
        return flow

    @property
    def takes_all(self) -> bool:
        """Whether there is a branch for values whose key has none."""
        return len(self.ways) > len(self.keys)

    def named_after(self) -> object:
        return self.function

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (
            RouteKernel(build.step, build.handler, self),
            Standing(Splitter, partial(split, build, to_addressed(len(self.ways)))),
        )


@overload
def route(
    key: F | Hint1,
    branches: Mapping[Any, Ends[D]],
    *,
    default: Ends[D] | None = ...,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Route[F, D, ClosedFlow[Stats]]: ...
@overload
def route(
    key: F | Hint1,
    branches: Mapping[Any, GoesOn[D, E]],
    *,
    default: GoesOn[D, E] | None = ...,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Route[F, D, Flow[E]]: ...
def route(
    key: Any,
    branches: Mapping[Any, Any],
    *,
    default: Any = None,
    name: str | None = None,
    on_error: OnError | None = None,
) -> Any:
    """Hand each value to the branch of its ``key(value)``, or to ``default``.

    A value whose key is in no branch, without ``default``, is a failing record. Branches all end in sinks, and the flow
    is closed, or none does, and what leaves them goes on together; then the order holds within a branch only.

    >>> from flowdsl import from_iterable, map_, route, to_list
    >>> ways = {0: map_(lambda n: f"{n} is even"), 1: map_(lambda n: f"{n} is odd")}
    >>> sorted((from_iterable([1, 2]) | route(lambda n: n % 2, ways) | to_list()).run())
    ['1 is odd', '2 is even']
    """
    if not isinstance(branches, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
        msg = f"branches must be a mapping from keys to operators, not {shown(branches)}"
        raise TypeError(msg)
    if not branches:
        msg = f"branches must not be empty, but is {branches!r}: without a branch every value is lost"
        raise ValueError(msg)
    ways = [branch(repr(each), operator) for each, operator in branches.items()]
    if default is not None:
        ways.append(branch("default", default))
    node: Route[Any, Any, Any] = Route(
        function=checks.function(key, "key"),
        keys=tuple(branches),
        ways=tuple(ways),
        name=name,
        on_error=error_policy(on_error),
    )
    return node


class RouteKernel(CallKernel):
    """Finds the branch of each value."""

    def __init__(self, step: StepContext, handler: Handler, node: Route[Any, Any, Any]) -> None:
        super().__init__(step, handler, node.function)
        self._targets = {key: index for index, key in enumerate(node.keys)}
        self._default = len(node.keys) if node.takes_all else None

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        function, targets, default = self._function, self._targets, self._default
        for value in inputs:
            key = function(value)
            target = targets.get(key)
            if target is None:
                if hasattr(key, "__await__"):
                    refuse_awaitable(key)
                target = default
            if target is None:
                known = ", ".join(map(shown, targets))
                text = f"no branch for the key {shown(key)}, and no default; there are branches for {known}"
                raise LookupError(text)
            done(target)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        return Addressed(chunk, results)
