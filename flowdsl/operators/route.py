"""``route``: each value goes to the branch of its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, overload

from attrs import evolve, frozen

from flowdsl.chunks import Chunk
from flowdsl.errors import refuse_awaitable, shown
from flowdsl.operators import checks
from flowdsl.operators.branching import all_close, any_groups, branch, grown, split
from flowdsl.plan.branch import Branch
from flowdsl.plan.hints import F, F_co, Hint1, T, X_contra, Y_co
from flowdsl.plan.nodes import Upstream
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Chaining, put
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
class Route(Chaining, Generic[F_co, X_contra, Y_co]):
    """One branch for each value: ``ways[i]`` for ``keys[i]``, else ``default``."""

    word = "route"
    hidden = ("keys", "ways", "default")
    function: Callable[..., Any]
    keys: tuple[Any, ...]
    ways: tuple[Branch, ...]
    default: Branch | None = None

    def __call__(self: Route[Callable[[T], object], Flow[T], Z], up: Flow[T], /) -> Z:
        flow: Z = put(self, up)
        return flow

    @property
    def branches(self) -> tuple[Branch, ...]:
        return self.ways if self.default is None else (*self.ways, self.default)

    @property
    def closes(self) -> bool:
        return all_close(self.branches)

    @property
    def groups(self) -> bool:
        return any_groups(self.branches)

    def named_after(self) -> object:
        return self.function

    def grown(self, up: Upstream) -> Self:
        built = grown(self, self.branches, up)
        default = None if self.default is None else built[-1]
        return evolve(super().grown(up), ways=built[: len(self.ways)], default=default)

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (
            RouteKernel(build.step, build.handler, self),
            Standing(Splitter, partial(split, build, to_addressed(len(self.branches)))),
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
    node: Route[Any, Any, Any] = Route(
        function=checks.function(key, "key"),
        keys=tuple(branches),
        ways=tuple(branch(repr(each), operator) for each, operator in branches.items()),
        default=None if default is None else branch("default", default),
        name=name,
        on_error=error_policy(on_error),
    )
    return node


class RouteKernel(CallKernel):
    """Finds the branch of each value."""

    def __init__(self, step: StepContext, handler: Handler, node: Route[Any, Any, Any]) -> None:
        super().__init__(step, handler, node.function)
        self._targets = {key: index for index, key in enumerate(node.keys)}
        self._default = None if node.default is None else len(node.keys)

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
