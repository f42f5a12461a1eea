"""Killing workers one after the other, each of them once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable

from tests.pool.conftest import wait_until


class Killer:
    """Kills processes of those that there are at the time.

    A process that was killed is still there until the system has ended it, and gone at any moment: who picks one to
    kill without looking at who was killed before kills nobody, or fails.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self.killed: set[int] = set()

    def kill(self) -> None:
        """Kill the first one that was not killed yet, once there is one."""
        alive: list[int] = []

        def one_is_alive() -> bool:
            alive[:] = (pid for pid in self._pids() if pid not in self.killed)
            return bool(alive)

        wait_until(one_is_alive)
        os.kill(alive[0], signal.SIGKILL)
        self.killed.add(alive[0])
