"""A run at its own end takes the time that its records take, until somebody stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flowdsl import LocalBroker, StopTimeout, from_iterable, map_, processes, retry, sink


@contextmanager
def gate() -> Iterator[Callable[[int], int]]:
    """A function that does not return before the test is over."""
    over = threading.Event()

    def stuck(n: int) -> int:
        over.wait(60)
        return n

    yield stuck
    over.set()


def nothing(_: object) -> None:
    """A sink."""


def asleep(n: int) -> int:
    time.sleep(60)
    return n


def fail(n: int) -> int:
    raise OSError(n)


def ended_by_a_stop(flow: Any, **given: Any) -> float:
    """Seconds that a stop took, once the source is exhausted."""
    handle = flow.start(**given)
    while not handle.stats.read:
        time.sleep(0.01)
    time.sleep(0.2)
    began = time.monotonic()
    try:
        handle.stop()
    finally:
        took = time.monotonic() - began
    return took


@pytest.mark.parametrize("order", [{}, {"ordered": False}, {"key": lambda n: n}], ids=["ordered", "unordered", "key"])
def test_a_stop_that_comes_while_a_run_waits_for_its_last_records_waits_no_longer_than_stop_timeout(
    order: dict[str, Any],
) -> None:
    with gate() as stuck:
        flow = from_iterable([1]) | map_(stuck, concurrency=1, **order) | sink(nothing)
        began = time.monotonic()
        with pytest.raises(StopTimeout):
            ended_by_a_stop(flow, stop_timeout=0.2)
    assert time.monotonic() - began < 30


def test_a_stop_ends_processes_that_work_on_the_last_records() -> None:
    flow = from_iterable([1]) | map_(asleep, scheduler=processes(1)) | sink(nothing)
    with pytest.raises(StopTimeout):
        ended_by_a_stop(flow, stop_timeout=0.2)


@pytest.mark.parametrize("how", [{}, {"concurrency": 2}], ids=["in place", "elsewhere"])
def test_a_stop_waits_for_no_attempt_that_comes_later(how: dict[str, Any]) -> None:
    flow = from_iterable([1, 2]) | map_(fail, on_error=retry(9, first=3600), **how) | sink(nothing)
    assert ended_by_a_stop(flow, stop_timeout=20.0) < 15


def test_a_timeout_ends_a_run_whose_threads_are_stuck() -> None:
    broker = LocalBroker()
    broker.write("t", [b"a"])
    with gate() as stuck:
        step: Any = map_(stuck, concurrency=1)
        began = time.monotonic()
        with pytest.raises(StopTimeout):
            (broker.source("t", group_id="g") | step | sink(nothing)).run(timeout=1.0, stop_timeout=0.2)
    assert time.monotonic() - began < 30
    assert sum(broker.committed("g").values()) == 0
