"""Where values leave the flow: what sinks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.stages.calls import Call, Role
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler


class Delivered(Chunk[Any]):
    """What is left of a chunk whose values reached a sink: its mark, what they were, and where they came from."""

    __slots__ = ("count", "taken", "taken_from")

    def __init__(self, chunk: Chunk[Any]) -> None:
        super().__init__([], chunk.mark, chunk.origins.part(0, 0))
        self.count = len(chunk)
        self.taken = chunk.values
        self.taken_from = chunk.origins  # not its records: a batch has many, and only a failing flush asks for them


def delivered(step: StepContext, values: list[Any]) -> None:
    """Tell whoever looks on that these values are safe in the sink."""
    if step.run.delivered is not None and values:
        step.run.delivered(step.name, values)


class SinkCall(Call):
    """The end: values go to the function, and nothing goes on but the mark."""

    def __init__(self, step: StepContext, handler: Handler, function: Callable[[Any], Any]) -> None:
        super().__init__(step, handler, Role.TAP, function)

    def settle(self, chunk: Chunk[Any]) -> Chunk[Any]:
        delivered(self.step, chunk.values)
        return Delivered(chunk)
