"""CommitOffsets: the end of a pipeline, where offsets are reported as done."""

from __future__ import annotations

from typing import Any

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.interface import arguments
from flowdsl.strategies.end import End
from flowdsl.types import Commit, Message


class CommitOffsets(End[Any]):
    """Report the offsets of every message through ``commit``, which decides when the broker hears of them.

    ``poll`` commits nothing new, so that a policy with a time fires when no messages come; ``join`` asks for what was
    reported to be sent at once. After ``terminate`` nothing is reported.
    """

    def __init__(self, commit: Commit, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(clock=clock)
        self._commit = arguments.function(commit, "commit")

    def accept(self, message: Message[Any]) -> None:
        self._commit(message.committable)

    def poll(self) -> None:
        if not self.terminated:
            self._commit({})

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        if not self.terminated:
            self._commit({}, force=True)
