"""A pool of worker processes, as those see it who use it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import FlowError
from flowdsl.pool.carriage import CannotTravel, NotLoaded, packed, unloadable
from flowdsl.pool.hub import Hub
from flowdsl.pool.line import Errand, Line, Tell, to_nobody

START_SECONDS = 120.0
"""How long a worker may take to start and to load a function: it may have much to import."""
MOST_IN_BATCH = 10_000

_numbers = count(1)


class Pool:
    """``size`` processes, which start with the first function. Usable from any thread.

    ``initializer``: called once in each worker, before anything else. Raises TypeError if it cannot be pickled. A pool
    that is dropped without being closed, or that is still open when the interpreter ends, kills its workers.
    """

    def __init__(self, size: int, initializer: Callable[[], object] | None = None) -> None:
        self._initializer = None if initializer is None else packed(initializer)
        self.size = size
        self._lock = threading.Lock()
        """Held by whoever makes the hub, or sees that there will be none: nobody's workers are left without an owner."""
        self._hub: Hub | None = None
        self._finalizer: Callable[[], object] | None = None
        self.is_closed = False

    def function(
        self,
        function: Callable[..., Any],
        *,
        about: object = None,
        is_context: bool = False,
        most: int = MOST_IN_BATCH,
        tell: Tell = to_nobody,
    ) -> Function:
        """Send a function to all workers, and wait until one of them could load it.

        ``is_context``: it returns a context manager, which each worker enters, and which gives the function to call.
        ``about``: the function that a user knows, for messages. ``most``: values in a batch.
        ``tell``: called by the pool's thread with errands that have their outcome. Raises CannotTravel (a
        TypeError), and what the initializer, or entering the context, raised in the worker.
        """
        hub = self._running()
        try:
            return Function(hub, packed(function, about=about), is_context=is_context, most=most, tell=tell)
        except NotLoaded as not_loaded:  # workers cannot import its module, for example
            with suppress(NotLoaded, CannotTravel):
                body = packed(function, about=about, with_module=True)
                return Function(hub, body, is_context=is_context, most=most, tell=tell)
            raise unloadable(function if about is None else about, not_loaded) from not_loaded.args[0]

    @property
    def pids(self) -> list[int]:
        """The processes that live now."""
        return [] if self._hub is None else [seat.process.pid for seat in list(self._hub.seats)]

    def close(self, timeout: float | None = None) -> None:
        """Let workers finish what they have, close what is open there, and end; kill those that did not in time.

        Work that waits for a worker is dropped. Raises what closing a resource raised.
        """
        hub = self._last_hub()
        if hub is None:
            return
        deadline = Deadline.after(SYSTEM_CLOCK, timeout)
        hub.close(deadline)
        hub.join()  # not for long after the deadline: it kills what is left then
        if hub.fault is not None:
            fault, hub.fault = hub.fault, None
            raise fault

    def terminate(self) -> None:
        """Kill all workers. Does not wait."""
        hub = self._last_hub()
        if hub is not None:
            hub.kill()

    def _running(self) -> Hub:
        with self._lock:
            if self.is_closed:
                msg = "the pool of worker processes is closed: make another"
                raise FlowError(msg)
            if self._hub is None:
                self._hub = hub = Hub(self.size, self._initializer)
                hub.start()
                self._finalizer = weakref.finalize(self, hub.kill)
            return self._hub

    def _last_hub(self) -> Hub | None:
        """The hub that there is; no other will be made."""
        with self._lock:
            self.is_closed = True
            return self._hub


class Function:
    """A function on a pool. Used by one thread."""

    def __init__(self, hub: Hub, body: bytes, *, is_context: bool, most: int, tell: Tell) -> None:
        self._hub = hub
        self._line = Line(next(_numbers), body, is_context=is_context, most=most, tell=tell)
        hub.command(lambda: hub.add(self._line))
        self._try()

    def call(self, errands: Sequence[Errand]) -> None:
        """Have the function called with these; their outcome is written by another thread, unless there is an ``error``."""
        self._line.waiting.extend(errands)
        self._hub.came()

    @property
    def error(self) -> BaseException | None:
        """Why nothing is done any more: the pool broke or was closed, or a worker could not load the function.

        To be looked at while outcomes are waited for.
        """
        return self._hub.error or self._line.error

    def look(self) -> None:
        """Have ``began`` written to the values in hand, soon."""
        for seat in list(self._hub.seats):
            seat.look()

    def stop_abandoned(self) -> None:
        """Kill workers that have abandoned values in hand; others take their places."""
        self._hub.command(self._hub.stop_abandoned)

    def forget(self) -> None:
        """It is not needed any more: workers close what they opened for it."""
        self._hub.command(lambda: self._hub.remove(self._line))

    def _try(self) -> None:
        deadline = Deadline.after(SYSTEM_CLOCK, START_SECONDS)
        while not self._line.tried.wait(0.2) and not self._hub.is_over and not deadline.expired:
            continue
        error = self._hub.error or self._line.error
        if error is None and self._line.tried.is_set():
            return
        self.forget()
        raise error or FlowError(f"no worker process was ready within {START_SECONDS} s")
