"""SIGINT and SIGTERM while a flow runs in the main thread: the first ends it in order, the second at once.

The second raises KeyboardInterrupt from the handler. A function that swallows even that is left to the handlers that
were there before: by default the next SIGTERM ends the process.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from flowdsl.flow.execution import Execution

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending_on_signals(execution: Execution) -> Generator[None]:
    """Install the handlers, and put back what was there. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:
            execution.stop()
            return
        execution.abandon()
        restore()
        raise KeyboardInterrupt

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        restore()
