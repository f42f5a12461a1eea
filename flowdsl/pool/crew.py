"""Threads that run calls one after the other, and never keep the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue

_numbers = count(1)


class Crew:
    """At most ``size`` threads; they start as calls come. Used by one thread; a call must not raise."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._name = f"flowdsl-crew-{next(_numbers)}"

    def put(self, call: Callable[[], None]) -> None:
        """Have this run after everything that was put before it has begun."""
        self._calls.put(call)
        if len(self._threads) < self._size:
            name = f"{self._name}-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def dismiss(self) -> None:
        """Let every thread end when it has run what waits. Does not wait."""
        for _ in self._threads:
            self._calls.put(None)
        self._threads.clear()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
