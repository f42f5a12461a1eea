"""``to_list``: all values, as what ``run`` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from flowdsl.plan.fragment import Fragment, compose
from flowdsl.plan.hints import T, X
from flowdsl.plan.nodes import Operator
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import put
from flowdsl.stages.ending import SinkCall
from flowdsl.stages.parts import Build, Part

if TYPE_CHECKING:
    from flowdsl.flow.flow import ClosedFlow, Flow


class ToList(Operator):
    """Collects the values in memory."""

    word = "to_list"

    @property
    def closes(self) -> bool:
        return True

    def __call__(self, up: Flow[T], /) -> ClosedFlow[list[T]]:
        closed: ClosedFlow[list[T]] = put(self, up)
        return closed

    def __ror__(self, first: Callable[[X], Flow[T]], /) -> Fragment[X, ClosedFlow[list[T]]]:
        return compose(first, self)

    if not TYPE_CHECKING:  # for a type checker nothing stands behind it

        def __or__(self, op: Any, /) -> NoReturn:
            compose(self, op)  # raises: an operator behind a sink

    def lower(self, build: Build) -> tuple[Part, ...]:
        step, run = build.step, build.step.run
        return (SinkCall(step, build.handler, run.sink(step.name, run.results.append, lambda _: step.site)),)


def to_list(*, name: str | None = None, on_error: OnError | None = None) -> ToList:
    """End the flow; ``run`` returns the list of its values. Not inside a branch.

    >>> from flowdsl import from_iterable, to_list
    >>> from_iterable("abc") | to_list()
    from_iterable('abc')
    | to_list()
    >>> (from_iterable("abc") | to_list()).run()
    ['a', 'b', 'c']
    """
    return ToList(name=name, on_error=error_policy(on_error))
