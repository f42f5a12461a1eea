"""Fragments: operators put together without a source. A fragment is an operator itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from flowdsl.errors import FlowDefinitionError, Problem, shown
from flowdsl.plan.functions import defined_at, full_name, short_name
from flowdsl.plan.hints import X, X_contra, Y_co
from flowdsl.plan.nodes import Operator, Upstream

if TYPE_CHECKING:
    from flowdsl.plan.hints import Z


class Fragment(Protocol[X_contra, Y_co]):
    """What takes a flow and gives a flow, and goes on with ``|``. A single operator is one too."""

    def __call__(self, up: X_contra, /) -> Y_co: ...
    def __or__(self, op: Callable[[Y_co], Z], /) -> Fragment[X_contra, Z]: ...
    def __ror__(self, first: Callable[[X], X_contra], /) -> Fragment[X, Y_co]: ...


class Composition(Struct, frozen=True):
    """Functions from flow to flow, one after the other."""

    functions: tuple[Callable[[Any], Any], ...]

    def __call__(self, up: Any, /) -> Any:
        if not isinstance(up, Upstream):
            msg = f"a fragment takes a flow, not {shown(up)}: write flow | fragment"
            raise TypeError(msg)
        for function in self.functions:
            up = up.through(function)
        return up

    def __or__(self, op: Any, /) -> Any:
        return compose(self, op)

    def __ror__(self, first: Any, /) -> Any:
        return compose(first, self)


def compose(first: Any, second: Any) -> Composition:
    """One fragment out of two functions. Raises FlowDefinitionError if the first ends in a sink."""
    functions = (*_functions(first), *_functions(second))
    for before, after in pairwise(functions):
        if isinstance(before, Operator) and before.closes:
            raise after_a_sink(before, after)
    return Composition(functions)


def _functions(part: Any) -> tuple[Callable[[Any], Any], ...]:
    if isinstance(part, Composition):
        return part.functions
    if not callable(part):
        msg = f"| puts operators together: functions that take a flow and give a flow. {shown(part)} is none; values become a flow with from_iterable(...)"
        raise TypeError(msg)
    return (part,)


def applied(function: Callable[[Any], Any], up: Upstream) -> Any:
    """What an operator makes of a flow. Raises TypeError, naming the function, if that is no flow."""
    if not callable(function):
        flows = isinstance(function, Upstream)
        why = (
            "a flow: two flows go together with merge(a, b)"
            if flows
            else "no operator: it cannot be called with a flow"
        )
        msg = f"| puts a flow and an operator together, and {shown(function)} is {why}"
        raise TypeError(msg)
    if up.plan.closed:
        raise after_a_sink(up.plan.steps[-1], function)
    result = function(up)
    if isinstance(result, Upstream):
        return result
    where = defined_at(function)
    place = f" ({where})" if where is not None else ""
    hint = "call it first" if isinstance(result, Operator) else "use map_ to call it with each value"
    msg = f"{full_name(function)}{place} stands where an operator belongs: it must return a flow, but returned {shown(result)}. If it is meant for values, {hint}"
    if inspect.iscoroutine(result):
        result.close()
    raise TypeError(msg)


def after_a_sink(sink: Operator, function: Any) -> FlowDefinitionError:
    """The error of whoever puts something behind a sink."""
    what = function.word if isinstance(function, Operator) else short_name(function) or "a lambda"
    place = function.where if isinstance(function, Operator) else sink.where
    text = f"{what} stands behind {sink.word}, which ends the flow: put it before, or use broadcast for several ends"
    return FlowDefinitionError([Problem(text, what, place.file, place.line)])
