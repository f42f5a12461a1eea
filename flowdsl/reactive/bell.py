"""Wakes the thread that drives a pipeline when work ends elsewhere. Costs workers next to nothing while nobody waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

ANYTHING: Final = object()
"""What one waits for who takes whatever comes first."""


class Bell:
    """One per run. Any thread may ``ring``; one thread, the one that drives the run, waits.

    No wake is lost: who waits says so first and then looks whether it happened already; who rings has told its news
    before it looks whether somebody waits. Whichever comes first, one of the two sees the other.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._awaited: object | None = None
        self.news = False
        """Whether something happened since whoever looks at everything last set this to False."""
        self.under_way = 0
        """How many tasks may ring; kept by the thread that waits."""

    def ring(self, what: object) -> None:
        """Something happened; ``what`` is compared by identity with what is waited for."""
        self.news = True
        awaited = self._awaited
        if awaited is not None and (awaited is what or awaited is ANYTHING):
            # Once is enough, and cheap for the others; ``set`` comes behind it, whoever waits by then.
            self._awaited = None
            self._event.set()

    def wait(self, seconds: float, happened: Callable[[], bool], what: object = ANYTHING) -> None:
        """Return once ``what`` has rung, or ``happened()``, or after so many seconds."""
        self._event.clear()
        self._awaited = what
        try:
            if not happened():
                self._event.wait(seconds)
        finally:
            self._awaited = None

    def wait_for_news(self, seconds: float) -> None:
        """Return once anything has rung since ``news`` was last set to False, or after so many seconds."""
        self.wait(seconds, lambda: self.news)
