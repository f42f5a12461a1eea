"""An event loop in virtual time: ``asyncio.sleep`` in a user's coroutine ends when the test's clock says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from flowdsl.clock import Clock

T = TypeVar("T")


class _NoFiles:
    """Where a loop would look for sockets."""

    def select(self, timeout: float | None = None) -> list[Any]:  # noqa: ARG002  # there is nothing to wait for
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready, on the thread that asks it to, and never waits. It has no sockets."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._selector = _NoFiles()

    def time(self) -> float:
        return self._clock()

    def run_ready(self) -> None:
        """Run all that can run without time passing."""
        with _no_other_loop():
            while self._is_ready():
                self.call_soon(self.stop)
                self.run_forever()

    def next_moment(self) -> float | None:
        """When something is to happen; None where nothing will by itself."""
        timers: list[asyncio.TimerHandle] = getattr(self, "_scheduled")  # noqa: B009  # of BaseEventLoop
        return min((timer.when() for timer in timers if not timer.cancelled()), default=None)

    async def pause(self, seconds: float) -> None:
        """Return when that much time has passed."""
        over = self.create_future()
        timer = self.call_later(seconds, over.set_result, None)
        try:
            await over
        finally:
            timer.cancel()

    def finish(self, awaitable: Awaitable[T]) -> T:
        """Run this to its end, letting time pass on the clock."""
        future = asyncio.ensure_future(awaitable, loop=self)
        self.run_ready()
        while not future.done():
            moment = self.next_moment()
            if moment is None:
                msg = "a coroutine waits for something that does not come in virtual time, such as a socket or a thread"
                raise RuntimeError(msg)
            self._clock.sleep(max(0.0, moment - self._clock()))
            self.run_ready()
        return future.result()

    def _is_ready(self) -> bool:
        moment = self.next_moment()
        return bool(getattr(self, "_ready")) or (moment is not None and moment <= self.time())  # noqa: B009  # as above

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits."""


@contextmanager
def _no_other_loop() -> Generator[None]:
    """A test may run inside a loop, as in a notebook; this one runs in between."""
    running = asyncio._get_running_loop()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # there is no other way to nest
    asyncio._set_running_loop(None)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as above
    try:
        yield
    finally:
        asyncio._set_running_loop(running)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as above
