"""RunTask: one function, one message after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.interface import arguments
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.types import FilteredPayload, Message

In = TypeVar("In")
Out = TypeVar("Out")


class RunTask(Step[In, Out]):
    """Call ``function(message)`` and hand on its result in place of the payload, with the same offsets.

    A result that downstream does not take yet is kept and offered again; the function runs once for each message that
    was taken. ``better_backpressure`` is accepted for the sake of older code and changes nothing.
    """

    def __init__(
        self,
        function: Callable[[Message[In]], Out],
        next_step: ProcessingStrategy[Out],
        better_backpressure: bool = False,  # noqa: ARG002  # what it asked for is what always happens
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(next_step, clock=clock)
        self._function = arguments.function(function, "function")

    def accept(self, message: Message[In | FilteredPayload]) -> None:
        if isinstance(message.payload, FilteredPayload):
            self.emit(message)
        else:
            result: Any = self._function(cast("Message[In]", message))
            self.emit(message.replace(result))
