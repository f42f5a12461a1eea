"""``with_record``: each value beside the record it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flowdsl.chunks import Chunk
from flowdsl.plan.fragment import Fragment, compose
from flowdsl.plan.hints import T, X
from flowdsl.plan.nodes import Operator, Plan
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import put
from flowdsl.stages.kernel import Done, Kernel
from flowdsl.stages.parts import Build, Part
from flowdsl.types import Record

if TYPE_CHECKING:
    from flowdsl.flow.flow import Flow
    from flowdsl.plan.hints import D, Z


class WithRecord(Operator):
    """Pairs of the value and its record."""

    word = "with_record"

    def __call__(self, up: Flow[T], /) -> Flow[tuple[T, Record[bytes | None]]]:
        flow: Flow[tuple[T, Record[bytes | None]]] = put(self, up)
        return flow

    def __or__(self, op: Callable[[Flow[tuple[D, Record[bytes | None]]]], Z], /) -> Fragment[Flow[D], Z]:
        return compose(self, op)

    def __ror__(self, first: Callable[[X], Flow[T]], /) -> Fragment[X, Flow[tuple[T, Record[bytes | None]]]]:
        return compose(first, self)

    @property
    def looks_at_records(self) -> bool:
        return True

    def refusal(self, before: Plan) -> str | None:
        if not before.groups:
            return None
        return "a value comes from several records here, so there is no single one to hand on: put with_record before the step that groups"

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (WithRecordKernel(build.step, build.handler),)


def with_record(*, name: str | None = None, on_error: OnError | None = None) -> WithRecord:
    """Hand on ``(value, record)``: the value and the record it came from, with topic, offset, key, headers, timestamp.

    Raises FlowDefinitionError, when it is put onto a flow, behind a step that groups: ``batch``, ``fold``.

    >>> from flowdsl import from_iterable, map_, to_list, with_record
    >>> (from_iterable("ab") | with_record() | map_(lambda pair: (pair[0], pair[1].offset)) | to_list()).run()
    [('a', 0), ('b', 1)]
    """
    return WithRecord(name=name, on_error=error_policy(on_error))


class WithRecordKernel(Kernel):
    """Looks up the record of each value."""

    def inputs(self, chunk: Chunk[Any]) -> list[Any]:
        origins = chunk.origins
        return [(value, origins, index) for index, value in enumerate(chunk.values)]

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        for value, origins, index in inputs:
            done((value, origins.records(index)[0]))

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        return Chunk(results, chunk.mark, chunk.origins)
