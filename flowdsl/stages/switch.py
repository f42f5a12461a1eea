"""Ending a run in the middle of a chunk: the record in hand is finished, the next one is not begun.

A loop over a list cannot be left from outside, but its iterator can be moved to the end of the list: that is what a
signal handler or another thread does here. It costs nothing per record.
"""

from __future__ import annotations

import sys
from typing import Protocol

from flowdsl.clock import Clock

GRACE = 1.0
"""Seconds for which the steps behind the interrupted one go on with what it had finished."""


class Movable(Protocol):
    """An iterator over a list."""

    def __setstate__(self, index: int, /) -> None: ...


class Switch:
    """Whether a run goes on. One per run; read by its thread, thrown by signal handlers and other threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.stopping = False
        self.timed_out = False
        self.failed = False
        self.abandoned = False
        self.interrupt: BaseException | None = None
        self.running: Movable | None = None
        self._until: float | None = None
        self.ends_at: float | None = None
        """Until when the run has to be over, once it is ending; None while nobody hurries it."""
        self.patience: float | None = None
        """How many seconds are left to a run that is at its own end, in peace, once it is stopped all the same."""

    def stop(self) -> None:
        """End the run after the record in hand. May be called from a signal handler and from any thread."""
        self.stopping = True
        # The loop publishes its iterator before it looks at ``stopping``, and this sets ``stopping`` before it looks at
        # the iterator: whichever comes first, one of the two sees the other.
        running = self.running
        if running is not None:
            running.__setstate__(sys.maxsize)

    def time_out(self) -> None:
        """The time that the run was given is up. From any thread."""
        if not self.stopping:
            self.timed_out = True
            self.stop()

    def interrupted(self, error: BaseException) -> None:
        """A user's function raised KeyboardInterrupt, SystemExit or the like: stop, and raise it at the end."""
        if self.interrupt is None:
            self.interrupt = error
        self.stop()

    def fail(self) -> None:
        """A step failed for good: what is complete is still finished, groups that are open are dropped."""
        self.failed = True

    def drain_until(self, moment: float | None) -> None:
        """From now on user functions are begun only before that moment (None: no such limit)."""
        self._until = moment

    @property
    def is_late(self) -> bool:
        """Whether a run that was ending in peace has to be over: what it waits for is given up, joins without a deadline too."""
        if self.patience is None or not self.stopping:
            return False
        if self.ends_at is None:
            self.ends_at = self._clock() + self.patience
        return self._clock() >= self.ends_at

    @property
    def hurries(self) -> bool:
        """Whether what was not begun is soon not worth beginning: the run ends, or drains against a deadline."""
        return self.stopping or self._until is not None

    @property
    def one_by_one(self) -> bool:
        """Whether the time must be looked at before each record."""
        if self.stopping and self._until is None:
            self._until = self._clock() + GRACE  # the record in hand is finished only now
        return self._until is not None

    def has_time(self) -> bool:
        return self._until is None or self._clock() < self._until
