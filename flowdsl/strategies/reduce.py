"""Reduce: messages are folded into groups, which leave when they are large or old enough.

A group holds the offsets of everything that came since it was begun, filtered messages included: none may overtake it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from flowdsl.clock import SYSTEM_CLOCK, Clock, to_seconds
from flowdsl.interface import arguments
from flowdsl.interface.offsets import raise_to
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.types import BaseValue, FilteredPayload, Message, Partition, Value

In = TypeVar("In")
Out = TypeVar("Out")


class _Group(Generic[Out]):
    """What was gathered so far."""

    __slots__ = ("begun", "offsets", "result", "size", "timestamp")

    def __init__(self, result: Out, begun: float) -> None:
        self.result = result
        self.begun = begun
        self.size = 0
        self.offsets: dict[Partition, int] = {}
        self.timestamp: datetime | None = None


class Reduce(Step[In, Out]):
    """Fold messages into groups with ``result = accumulator(result, message.value)``, from ``initial_value()`` on.

    A group leaves as soon as its size reaches ``max_batch_size``, or ``max_batch_time`` seconds after its first message.
    The size is the number of messages, or the sum of ``compute_batch_size(message.value)``; the value that reaches the
    maximum is taken. Its offsets are the highest of each partition, its timestamp that of its last message.
    """

    def __init__(
        self,
        max_batch_size: int,
        max_batch_time: float,
        accumulator: Callable[[Out, BaseValue[In]], Out],
        initial_value: Callable[[], Out],
        next_step: ProcessingStrategy[Out],
        compute_batch_size: Callable[[BaseValue[In]], int] | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(next_step, clock=clock)
        self._max_size = arguments.count(max_batch_size, "max_batch_size")
        self._max_time = to_seconds(max_batch_time, "max_batch_time")
        self._accumulator = arguments.function(accumulator, "accumulator")
        self._initial_value = arguments.function(initial_value, "initial_value")
        self._size_of = None
        if compute_batch_size is not None:
            self._size_of = arguments.function(compute_batch_size, "compute_batch_size")
        self._group: _Group[Out] | None = None

    def accept(self, message: Message[In | FilteredPayload]) -> None:
        if isinstance(message.payload, FilteredPayload):
            self._accept_filtered(message)
            return
        value = cast("BaseValue[In]", message.value)
        size = 1 if self._size_of is None else self._size_of(value)
        group = self._group
        if group is None:
            group = _Group(self._initial_value(), self.clock())
        group.result = self._accumulator(group.result, value)
        group.size += size
        group.timestamp = value.timestamp
        raise_to(group.offsets, value.committable)
        self._group = group
        if group.size >= self._max_size:
            self.flush()

    def advance(self) -> None:
        due = self.own_deadline()
        if due is not None and self.clock() >= due:
            self.flush()

    def own_deadline(self) -> float | None:
        return None if self._group is None else self._group.begun + self._max_time

    def flush(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            self.emit(Message(Value(group.result, group.offsets, group.timestamp)))

    def abandon(self) -> None:
        self._group = None

    def _accept_filtered(self, message: Message[Any]) -> None:
        if self._group is None:
            self.emit(message)
        else:
            raise_to(self._group.offsets, message.committable)
