"""The base of strategies without a successor: they take everything at once and hold nothing."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.types import FilteredPayload, Message

In = TypeVar("In")


class End(ProcessingStrategy[In], Generic[In]):
    """The last stage. Subclasses fill in ``accept``."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self.terminated = False
        self._closed = False

    @abstractmethod
    def accept(self, message: Message[In | FilteredPayload]) -> None:
        """Finish this message."""

    def poll(self) -> None:
        """There is nothing to wait for."""

    def submit(self, message: Message[In | FilteredPayload]) -> None:
        if self._closed:
            text = f"{self} takes no more messages: it was closed, joined or terminated"
            raise RuntimeError(text)
        self.accept(message)

    def close(self) -> None:
        self._closed = True

    def join(self, timeout: float | None = None) -> None:  # noqa: ARG002  # nothing is ever unfinished
        self._closed = True

    def terminate(self) -> None:
        self._closed = self.terminated = True

    def __str__(self) -> str:
        return type(self).__name__
