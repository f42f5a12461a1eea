"""FilterStep: messages that a function refuses lose their payload and keep their offsets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.interface import arguments
from flowdsl.interface.offsets import raise_to
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.types import FILTERED_PAYLOAD, CommitPolicy, FilteredPayload, Message, Partition, Value

In = TypeVar("In")


class FilterStep(Step[In, In]):
    """Hand on the messages for which ``function(message)`` is true, and of the others the offsets alone.

    With a ``commit_policy`` the offsets of refused messages are put together and handed on when one of its conditions
    holds: so many refused, or so many seconds since the first of them; at the latest in ``join``.
    """

    def __init__(
        self,
        function: Callable[[Message[In]], bool],
        next_step: ProcessingStrategy[In],
        commit_policy: CommitPolicy | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(next_step, clock=clock)
        self._function = arguments.function(function, "function")
        self._policy = commit_policy
        self._offsets: dict[Partition, int] = {}
        self._refused = 0
        self._since = 0.0

    def accept(self, message: Message[In | FilteredPayload]) -> None:
        filtered = isinstance(message.payload, FilteredPayload)
        if not filtered and self._function(cast("Message[In]", message)):
            self._cover(message)
            self.emit(message)
        elif self._policy is None:
            self.emit(message if filtered else message.replace(FILTERED_PAYLOAD))
        else:
            self._hold(message, self._policy)

    def advance(self) -> None:
        due = self.own_deadline()
        if due is not None and self.clock() >= due:
            self.flush()

    def own_deadline(self) -> float | None:
        if not self._refused or self._policy is None or self._policy.min_commit_frequency_sec is None:
            return None
        return self._since + self._policy.min_commit_frequency_sec

    def flush(self) -> None:
        if self._offsets:
            self.emit(Message(Value(FILTERED_PAYLOAD, self._offsets)))
        self.abandon()

    def abandon(self) -> None:
        self._offsets = {}
        self._refused = 0

    def _hold(self, message: Message[Any], policy: CommitPolicy) -> None:
        if not self._refused:
            self._since = self.clock()
        raise_to(self._offsets, message.committable)
        self._refused += 1
        enough = policy.min_commit_messages
        if enough is not None and self._refused >= enough:
            self.flush()
        else:
            self.advance()

    def _cover(self, message: Message[Any]) -> None:
        """The offsets of a message that passes say what those of refused ones before it would have said."""
        for partition, offset in message.committable.items():
            if self._offsets.get(partition, offset + 1) <= offset:
                del self._offsets[partition]
        if not self._offsets:
            self._refused = 0
