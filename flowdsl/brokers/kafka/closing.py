"""Ending what may never end: librdkafka waits for the broker in places where nothing tells it not to."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread


def within(seconds: float, end: Callable[[], object]) -> bool:
    """Run this in a thread, and wait for it that long; False if it is not done. The process can end all the same."""
    thread = Thread(target=_quietly, args=(end,), name="flowdsl-kafka-close", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _quietly(end: Callable[[], object]) -> None:
    try:
        end()
    except BaseException:  # noqa: BLE001  # callbacks of the user's are called too; it is over either way
        return
