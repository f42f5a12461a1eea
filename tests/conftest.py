"""What holds for every test: a thread that outlives its test fails it, and hypothesis sets no time limits."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from time import monotonic, sleep

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka.fixtures import cluster, g, kafka, kafka_address, own_kafka, t

__all__ = ["cluster", "g", "kafka", "kafka_address", "own_kafka", "t"]

GRACE = 10.0
"""Seconds that a thread which was told to end may still take."""

# A shell's background job ignores SIGINT, and so would every process that a test starts and means to interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def leaked(before: set[threading.Thread], grace: float = GRACE) -> list[str]:
    """The names of threads that were not there before and do not end within the grace, daemons included."""
    until = monotonic() + grace
    late = [thread for thread in threading.enumerate() if thread not in before]
    for thread in late:
        while monotonic() < until:
            try:
                thread.join(until - monotonic())
                break
            except RuntimeError:  # one that is late begins it just now
                sleep(0.001)
    return [f"{thread.name}{' (daemon)' if thread.daemon else ''}{_at(thread)}" for thread in late if thread.is_alive()]


def _at(thread: threading.Thread) -> str:
    """Where it is, innermost last."""
    frame = sys._current_frames().get(thread.ident or 0)  # documented, whatever its name
    return "" if frame is None else " at " + "".join(traceback.format_stack(frame, limit=3))


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = leaked(before)
    if left:
        pytest.fail(f"threads that outlived the test: {', '.join(left)}. Stop or close what started them.")
