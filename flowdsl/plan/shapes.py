"""How operators go together: what ``flow | operator`` and ``operator | operator`` do, and the types that they have.

``put`` is what every ``__call__`` does. At run time all operators are alike; the classes below differ in types alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, overload

from flowdsl.errors import shown
from flowdsl.plan.fragment import Fragment, after_a_sink, compose
from flowdsl.plan.hints import F_co, Nobody, Out, S, S_co, T, X, Y
from flowdsl.plan.nodes import Operator, Upstream

if TYPE_CHECKING:
    from flowdsl.flow.flow import Flow
    from flowdsl.plan.hints import D, Z


def put(operator: Operator, up: object) -> Any:
    """The flow with this operator behind it. Raises TypeError for what is no flow, FlowDefinitionError behind a sink."""
    if not isinstance(up, Upstream):
        msg = f"{operator.word} takes a flow, not {shown(up)}: write flow | {operator.word}(...)"
        raise TypeError(msg)
    if up.plan.closed:
        raise after_a_sink(up.plan.steps[-1], operator)
    refusal = operator.refusal(up.plan)
    if refusal is not None:
        raise operator.fault(refusal)
    return up.then(operator.grown(up))


class Chaining(Operator):
    """Operators whose own ``__call__`` tells both types: what comes in, what goes out."""

    def __call__(self, up: Any, /) -> Any:
        return put(self, up)

    def __or__(self: Callable[[X], Y], op: Callable[[Y], Z], /) -> Fragment[X, Z]:
        return compose(self, op)

    def __ror__(self: Callable[[Y], Out], first: Callable[[X], Y], /) -> Fragment[X, Out]:
        return compose(first, self)


class Same(Operator):
    """Operators that hand on values of whatever type comes in."""

    def __call__(self, up: Flow[T], /) -> Flow[T]:
        flow: Flow[T] = put(self, up)
        return flow

    def __or__(self, op: Callable[[Flow[D]], Z], /) -> Fragment[Flow[D], Z]:
        return compose(self, op)

    def __ror__(self, first: Callable[[X], Flow[T]], /) -> Fragment[X, Flow[T]]:
        return compose(first, self)


class Keep(Operator, Generic[F_co]):
    """Operators that hand on the values that their function looks at."""

    @overload
    def __call__(self: Keep[Callable[[Nobody], object]], up: Flow[T], /) -> Flow[T]: ...
    @overload
    def __call__(self: Keep[Callable[[T], object]], up: Flow[T], /) -> Flow[T]: ...
    def __call__(self, up: Any, /) -> Any:
        return put(self, up)

    @overload
    def __or__(self: Keep[Callable[[Nobody], object]], op: Callable[[Flow[D]], Z], /) -> Fragment[Flow[D], Z]: ...
    @overload
    def __or__(self: Keep[Callable[[T], object]], op: Callable[[Flow[T]], Z], /) -> Fragment[Flow[T], Z]: ...
    def __or__(self, op: Any, /) -> Any:
        return compose(self, op)

    @overload
    def __ror__(self: Keep[Callable[[Nobody], object]], first: Callable[[X], Flow[T]], /) -> Fragment[X, Flow[T]]: ...
    @overload
    def __ror__(self: Keep[Callable[[T], object]], first: Callable[[X], Flow[T]], /) -> Fragment[X, Flow[T]]: ...
    def __ror__(self, first: Any, /) -> Any:
        return compose(first, self)


class Reducing(Chaining, Generic[F_co, S_co]):
    """Operators with a state: ``f(state, value)`` gives the next state, and states are what leaves."""

    @overload
    def __call__(self: Reducing[Callable[[Nobody, Nobody], object], S], up: Flow[Any], /) -> Flow[S]: ...
    @overload
    def __call__(self: Reducing[Callable[[S, T], S], S], up: Flow[T], /) -> Flow[S]: ...
    def __call__(self, up: Any, /) -> Any:
        return put(self, up)
