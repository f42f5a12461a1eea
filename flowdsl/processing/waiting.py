"""How the loop waits: for records, or, while work is under way elsewhere, for its end."""

from __future__ import annotations

from collections.abc import Callable

from flowdsl.clock import Clock
from flowdsl.reactive.bell import Bell

READ_SECONDS = 0.1
"""No read waits longer: a signal handler does not wake it."""
REJECTED_PAUSE = 0.002
"""Seconds between two offers of a message that was rejected."""


class Waiting:
    """Waits on the bell of the run while somebody may ring it. ``end``: the moment at which the run is over."""

    def __init__(self, clock: Clock, bell: Bell | None, end: float | None) -> None:
        self._clock, self._bell, self._end = clock, bell, end
        self.was_full = False
        """Whether the last read brought as much as it might: there is more, as a rule."""

    def to_read(self, *moments: Callable[[], float | None]) -> float:
        """How long the next read may wait: until the first of these moments, unless that was waited for here."""
        if self.was_full:
            return 0.0
        now = self._clock()
        until = now + READ_SECONDS
        for moment in (self._end, *(each() for each in moments)):
            if moment is not None and moment < until:
                until = moment
        seconds = max(0.0, until - now)
        if not self._listens:
            return seconds
        self._rest(seconds)
        return 0.0

    def after_rejection(self) -> None:
        """Let a moment pass before a message is offered again."""
        self._rest(REJECTED_PAUSE)

    def _rest(self, seconds: float) -> None:
        """Let that time pass, or less if work ends."""
        if self._bell is None or not self._listens:
            self._clock.sleep(seconds)
        elif seconds:
            self._bell.wait_for_news(seconds)

    @property
    def _listens(self) -> bool:
        return self._bell is not None and self._bell.under_way > 0
