"""The interface that everything compiles to, and that hand-written strategies implement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

from flowdsl.types import Commit, FilteredPayload, Message, Partition

T = TypeVar("T")


class MessageRejected(Exception):  # noqa: N818  # the name that the field knows
    """Raised by ``submit`` alone: "I cannot take this now; offer the same message again later"."""


class ProcessingStrategy(ABC, Generic[T]):
    """One stage of a pipeline, driven by the thread of the consumer. It owns the stage after it."""

    @abstractmethod
    def poll(self) -> None:
        """Collect finished work, fire timers, poll downstream. Called on every turn of the loop.

        May raise what asynchronous work raised; never ``MessageRejected``.
        """

    @abstractmethod
    def submit(self, message: Message[T | FilteredPayload]) -> None:
        """Take one message; it may be worked on now or later.

        Raises ``MessageRejected`` when there is no room. Then the message is untouched: no user function has run and
        nothing was handed on.
        """

    @abstractmethod
    def close(self) -> None:
        """Take no more messages. Does not block."""

    @abstractmethod
    def terminate(self) -> None:
        """Abandon all work at once, in any state, any number of times. Blocks on nothing."""

    @abstractmethod
    def join(self, timeout: float | None = None) -> None:
        """Finish what was submitted, or as much of it as fits ``timeout`` seconds; then close and join downstream.

        What is unfinished is dropped uncommitted, so that it will be read again. Never raises ``MessageRejected``.
        """

    def next_deadline(self) -> float | None:
        """The moment, on the pipeline's clock, at which ``poll`` is needed at the latest; None where it does not matter."""
        return None

    def held_by(self) -> str | None:
        """The step that holds the oldest unfinished work, by name; None where nothing is held, or nobody knows."""
        return None


class ProcessingStrategyFactory(ABC, Generic[T]):
    """Makes a fresh pipeline for every assignment of partitions."""

    @abstractmethod
    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> ProcessingStrategy[T]:
        """The pipeline for these partitions and the offsets at which they start."""

    def shutdown(self) -> None:  # optional on purpose
        """Free what outlives assignments. Called once, at the end."""
