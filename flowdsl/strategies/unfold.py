"""Unfold: one message becomes several values, or none; the last of them completes it.

No value may commit what a later one of the same message still has to do, and what none of them mentions (filtered
offsets that travel with a batch, a value that was dropped) is completed by the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.interface import arguments
from flowdsl.interface.offsets import raise_to
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.types import FILTERED_PAYLOAD, BaseValue, FilteredPayload, Message, Partition, Value

In = TypeVar("In")
Out = TypeVar("Out")


class Unfold(Step[In, Out]):
    """Hand on each value of ``generator(payload)``, with its own offsets and timestamp.

    The last value also carries the offsets of the message that the values do not carry themselves. A message that gives
    no values moves its offsets all the same. If the generator raises midway, none of its values is handed on.
    """

    def __init__(
        self,
        generator: Callable[[In], Iterable[BaseValue[Out]]],
        next_step: ProcessingStrategy[Out],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(next_step, clock=clock)
        self._generator = arguments.function(generator, "generator")

    def accept(self, message: Message[In | FilteredPayload]) -> None:
        payload = message.payload
        if isinstance(payload, FilteredPayload):
            self.emit(message)
            return
        values = list(self._generator(payload))
        if not values:
            self.emit(message.replace(FILTERED_PAYLOAD))
            return
        for value in _completing(values, message.committable):
            self.emit(Message(value))


def _completing(values: Sequence[BaseValue[Any]], whole: Mapping[Partition, int]) -> Sequence[BaseValue[Any]]:
    reached: dict[Partition, int] = {}
    in_order = True
    for value in values:
        in_order = in_order and all(
            reached.get(partition, 0) <= offset for partition, offset in value.committable.items()
        )
        raise_to(reached, value.committable)
    missing = {partition: offset for partition, offset in whole.items() if reached.get(partition, 0) < offset}
    if in_order and not missing:
        return values
    *others, last = values
    if in_order:
        ends = {**last.committable, **missing}
    else:
        raise_to(reached, whole)
        ends = reached
        others = [Value(value.payload, {}, value.timestamp) for value in others]
    return [*others, Value(last.payload, ends, last.timestamp)]
