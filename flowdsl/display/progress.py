"""A bar that shows how far a run is, on standard error, drawn by a thread of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from flowdsl.clock import SYSTEM_CLOCK, Clock

WIDTH = 30
REFRESH = 0.1
"""Seconds between two pictures."""

Progress = Callable[[], tuple[int, int | None]]
"""Gives how many records were read, and of how many; None where nobody knows."""


def line(name: str, done: int, total: int | None, seconds: float) -> str:
    """One picture of the bar.

    >>> line("orders", 50, 100, 2.0)
    'orders [###############               ]  50% 50 of 100 records, 25/s'
    """
    rate = f"{done / seconds:,.0f}/s" if seconds > 0 else "-/s"
    if not total:
        return f"{name} {done:,} records, {rate}"
    share = min(1.0, done / total)
    bar = "#" * int(WIDTH * share)
    return f"{name} [{bar:<{WIDTH}}] {share:4.0%} {done:,} of {total:,} records, {rate}"


@contextmanager
def progress_bar(
    name: str, progress: Progress, *, to: TextIO | None = None, clock: Clock = SYSTEM_CLOCK
) -> Iterator[None]:
    """Draw while the body runs, and a last time at its end."""
    out = to or sys.stderr
    began, over = clock(), threading.Event()

    def draw(end: str = "") -> None:
        done, total = progress()
        out.write(f"\r{line(name, done, total, clock() - began):<79}{end}")
        out.flush()

    def go_on() -> None:
        while not over.wait(REFRESH):
            draw()

    thread = threading.Thread(target=go_on, name="flowdsl-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        draw("\n")
