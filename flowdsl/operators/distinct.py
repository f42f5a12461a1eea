"""``distinct_until_changed``: a value goes on unless it is like the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import compress
from typing import Any, overload

from attrs import frozen

from flowdsl.chunks import Chunk
from flowdsl.errors import refuse_awaitable
from flowdsl.operators import checks
from flowdsl.origins import kept
from flowdsl.plan.hints import F, Hint1
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Keep, Same
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import Done, Kernel
from flowdsl.stages.parts import Build, Part
from flowdsl.stages.states import lanes
from flowdsl.types import PerState


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Distinct(Keep[Callable[[Any], Any]]):
    """Values whose key, or which themselves, differ from those before."""

    word = "distinct_until_changed"
    key: Callable[..., Any] | None = None
    per: PerState = "partition"

    @property
    def drops(self) -> bool:
        return True

    def named_after(self) -> object:
        return self.key

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (DistinctKernel(build.step, build.handler, self),)


@overload
def distinct_until_changed(
    key: None = ...,
    *,
    per: PerState = ...,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Same: ...
@overload
def distinct_until_changed(
    key: F | Hint1,
    *,
    per: PerState = ...,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Keep[F]: ...
def distinct_until_changed(
    key: Any = None,
    *,
    per: PerState = "partition",
    name: str | None = None,
    on_error: OnError | None = None,
) -> Any:
    """Hand on a value unless it, or its ``key(value)``, equals that of the value before it.

    "Before" means in the same partition, or with ``per="flow"`` in the whole flow. What was before is forgotten where a
    partition is read again from an earlier offset.

    >>> from flowdsl import distinct_until_changed, from_iterable, to_list
    >>> (from_iterable([1, 1, 2, 2, 1]) | distinct_until_changed() | to_list()).run()
    [1, 2, 1]
    """
    return Distinct(
        key=None if key is None else checks.function(key, "key"),
        per=checks.choice(per, "per", ("partition", "flow")),
        name=name,
        on_error=error_policy(on_error),
    )


NOTHING_BEFORE = object()


class DistinctKernel(Kernel):
    """Remembers the last key of each partition."""

    def __init__(self, step: StepContext, handler: Handler, node: Distinct) -> None:
        super().__init__(step, handler)
        self._key = node.key
        self._per: PerState = node.per
        self._last = step.run.states.setdefault(step.name, {})

    def inputs(self, chunk: Chunk[Any]) -> list[Any]:
        return list(zip(lanes(chunk, self._per), chunk.values, strict=True))

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        key, last = self._key, self._last
        for lane, value in inputs:
            now = value if key is None else key(value)
            if hasattr(now, "__await__"):
                refuse_awaitable(now)
            before = last.get(lane, NOTHING_BEFORE)
            differs = before is NOTHING_BEFORE or not before == now  # noqa: SIM201  # a user's __eq__ decides
            last[lane] = now
            done(differs)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        values = list(compress(chunk.values, results))
        return Chunk(values, chunk.mark, kept(chunk.origins, results, len(values)))
