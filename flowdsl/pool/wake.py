"""Wakes a thread that waits for files, by one more file."""

from __future__ import annotations

import socket
from contextlib import suppress


class Wake:
    """Any thread may ``call``; the one that waits for ``fileno`` answers.

    No call is lost: who calls has left its news before, and who answers looks for news behind it. Calls in between cost
    nothing.
    """

    def __init__(self) -> None:
        self._theirs, self._ours = socket.socketpair()
        self._theirs.setblocking(False)
        self._ours.setblocking(False)
        self._called = False

    def fileno(self) -> int:
        return self._ours.fileno()

    def call(self) -> None:
        if not self._called:
            self._called = True
            with suppress(OSError):  # full: it wakes anyway; closed: nobody is there
                self._theirs.send(b"!")

    def answer(self) -> None:
        """Take back what ``call`` left; to be followed by looking for news."""
        with suppress(BlockingIOError):
            self._ours.recv(64)
        self._called = False

    def close(self) -> None:
        self._theirs.close()
        self._ours.close()
