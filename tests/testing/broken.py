"""Strategies written by hand that break a promise, each in a way in which people break it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

from flowdsl.strategies import Commit, Message, MessageRejected, Partition, ProcessingStrategy
from flowdsl.types import FILTERED_PAYLOAD, Value
from tests.strategies.doubles import Passing

Next = ProcessingStrategy[Any]


class Eager(Passing):
    """Lets the offset go at once, and hands the value on later."""

    held: Message[Any] | None = None

    def submit(self, message: Message[Any]) -> None:
        if self.held is not None:
            raise MessageRejected
        self.downstream.submit(Message(Value(FILTERED_PAYLOAD, message.committable)))
        self.held = message

    def poll(self) -> None:
        super().poll()
        if self.held is not None:
            with suppress(MessageRejected):
                self.downstream.submit(Message(Value(self.held.payload, {})))
                self.held = None


class Swapping(Passing):
    """Hands on what has gathered the wrong way round."""

    def __init__(self, downstream: Next) -> None:
        super().__init__(downstream)
        self.held: list[Message[Any]] = []

    def submit(self, message: Message[Any]) -> None:
        self.held.append(message)

    def poll(self) -> None:
        super().poll()
        while self.held:
            last, offsets = self.held[-1], self.held[0].committable if len(self.held) == 1 else {}
            with suppress(MessageRejected):
                self.downstream.submit(Message(Value(last.payload, offsets)))
                self.held.pop()
                continue
            return


class Stammering(Passing):
    """Hands on every value twice."""

    def submit(self, message: Message[Any]) -> None:
        self.downstream.submit(Message(Value(message.payload, {})))
        self.downstream.submit(message)


class Dying(Passing):
    """Cannot do with little time."""

    def join(self, timeout: float | None = None) -> None:
        if timeout is not None and timeout < 1.0:
            raise ZeroDivisionError
        self.downstream.join(timeout)


@frozen
class Through:
    """A factory for one of them."""

    kind: type[Passing]

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int], downstream: Next) -> Next:
        return self.kind(downstream)
