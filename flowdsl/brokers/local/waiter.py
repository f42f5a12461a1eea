"""How a reader waits for records and for other members: the one place of the embedded broker that blocks.

A wait begins with a token taken before the last look, so that what happened between look and wait is not missed.
"""

from __future__ import annotations

from threading import Condition
from typing import Protocol

from flowdsl.clock import Deadline

_LOOK_AGAIN = 0.1
"""Seconds after which a waiting reader looks again: members that fell silent announce nothing."""


class Waiter(Protocol):
    def token(self) -> int:
        """What to hand to ``wait``; taken before looking whether there is anything."""
        ...

    def notify(self) -> None:
        """Something happened: whoever waits looks again."""
        ...

    def wait(self, token: int, deadline: Deadline) -> bool:
        """Wait for something newer than the token; False once there is no point in waiting longer."""
        ...


class ThreadWaiter:
    """For real time: readers and writers are threads."""

    def __init__(self) -> None:
        # The condition's lock is held for the counter alone and nothing else is called under it: notify may
        # therefore be called with any other lock held.
        self._condition = Condition()
        self._events = 0

    def token(self) -> int:
        return self._events

    def notify(self) -> None:
        with self._condition:
            self._events += 1
            self._condition.notify_all()

    def wait(self, token: int, deadline: Deadline) -> bool:
        left = deadline.remaining()
        with self._condition:
            if self._events == token:
                self._condition.wait(_LOOK_AGAIN if left is None else min(left, _LOOK_AGAIN))
        return not deadline.expired


class NoWait:
    """For virtual time: nothing blocks, since only who drives the clock lets time pass."""

    def token(self) -> int:
        return 0

    def notify(self) -> None:
        return

    def wait(self, token: int, deadline: Deadline) -> bool:  # noqa: ARG002  # the protocol's arguments
        return False
