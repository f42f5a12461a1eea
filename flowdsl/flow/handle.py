"""A run in a thread of its own, and what its owner can do with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, Generic, Self, TypeVar

from flowdsl.clock import Duration, optional_seconds, waitable
from flowdsl.errors import FlowError, RunTimeout, StopTimeout
from flowdsl.flow.execution import Execution
from flowdsl.flow.stats import Stats

R = TypeVar("R")


class RunHandle(Generic[R]):
    """A running flow. ``with`` and ``async with`` stop it at the end; ``await handle`` waits for its result."""

    def __init__(self, execution: Execution, outcome: Callable[[Execution], R]) -> None:
        self._execution = execution
        self._result: Future[R] = Future()
        self._result.set_running_or_notify_cancel()  # whoever gives up waiting, in an event loop, does not cancel it
        self._thread = threading.Thread(target=self._run, args=(outcome,), name="flowdsl-run", daemon=True)
        self._thread.start()

    def stop(self, timeout: Duration | None = None) -> R:
        """Drain, commit, leave the group; return what ``run`` would, and raise what the flow raised.

        ``timeout`` in seconds; raises StopTimeout if the run is not over by then (it goes on ending).
        """
        seconds = optional_seconds(timeout, "timeout")
        self._refuse_itself()
        self._execution.stop()
        if not self.join(seconds):
            text = f"the run did not end within {seconds} s; what is not done is not committed. It goes on ending by itself"
            raise StopTimeout(text)
        return self._result.result()

    def result(self, timeout: Duration | None = None) -> R:
        """Wait for the end of the run. Raises what the flow raised, or RunTimeout if it is not over by then."""
        seconds = optional_seconds(timeout, "timeout")
        if not self.join(seconds):
            text = f"the run is not over after {seconds} s; it goes on"
            raise RunTimeout(text)
        return self._result.result()

    def join(self, timeout: Duration | None = None) -> bool:
        """Wait; True if the run is over. Raises nothing of the flow's."""
        seconds = optional_seconds(timeout, "timeout")
        self._refuse_itself()
        self._thread.join(waitable(seconds))
        return not self._thread.is_alive()

    def wait_ready(self, timeout: Duration | None = None) -> bool:
        """Wait until the run has its assignment, with ``start`` resolved; True if it has. False if it ended before."""
        return self._execution.wait_ready(waitable(optional_seconds(timeout, "timeout")))

    @property
    def running(self) -> bool:
        """Whether the run is not over."""
        return self._thread.is_alive()

    @property
    def stats(self) -> Stats:
        """What the run counted so far."""
        return self._execution.stats()

    def __await__(self) -> Generator[Any, None, R]:
        return asyncio.wrap_future(self._result).__await__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._leave(hurried=kind is not None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await asyncio.get_running_loop().run_in_executor(None, lambda: self._leave(hurried=kind is not None))

    def __repr__(self) -> str:
        return f"<run of {self._execution.plan.name}, {'running' if self.running else 'ended'}>"

    def _run(self, outcome: Callable[[Execution], R]) -> None:
        try:
            self._execution.run()
            self._result.set_result(outcome(self._execution))
        except BaseException as error:  # noqa: BLE001  # whoever asks for the result gets it
            self._result.set_exception(error)

    def _refuse_itself(self) -> None:
        if threading.current_thread() is self._thread:
            text = "the end of a run cannot be waited for from within the run: a function of the flow called its handle"
            raise FlowError(text)

    def _leave(self, *, hurried: bool) -> None:
        """At the end of a ``with``: an error of the body comes before one of the flow."""
        self._execution.stop()
        self._thread.join()
        if not hurried:
            self._result.result()
