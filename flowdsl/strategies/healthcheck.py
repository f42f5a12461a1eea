"""Healthcheck: a file whose modification time shows that the loop turns."""

from __future__ import annotations

import os
from typing import TypeVar

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.types import FilteredPayload, Message

In = TypeVar("In")

TOUCH_INTERVAL = 1.0
"""Seconds between two touches, at least."""


class Healthcheck(Step[In, In]):
    """Hand everything on unchanged, and touch ``healthcheck_file`` from ``poll``, at most once a second.

    It shows that the loop is alive, not that messages move. Its folder must exist: OSError from ``poll`` otherwise.
    """

    def __init__(
        self,
        healthcheck_file: str | os.PathLike[str],
        next_step: ProcessingStrategy[In],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(next_step, clock=clock)
        self._file = healthcheck_file
        self._due: float | None = None

    def accept(self, message: Message[In | FilteredPayload]) -> None:
        self.emit(message)

    def poll(self) -> None:
        super().poll()
        now = self.clock()
        if self._due is None or now >= self._due:
            os.close(os.open(self._file, os.O_CREAT | os.O_WRONLY))
            os.utime(self._file)
            self._due = now + TOUCH_INTERVAL
