"""A bar that shows how far a run is, on standard error, drawn by a thread of its own.

It never gets in the way: what is not a terminal gets one line at the end, and an output that fails is let be.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.display import terminal

WIDTH = 30
LONGEST_NAME = 20
REFRESH = 0.1
"""Seconds between two pictures."""

Progress = Callable[[], tuple[int, int | None]]
"""Gives how many records were read, and of how many; None where nobody knows."""


def line(name: str, done: int, total: int | None, seconds: float) -> str:
    """One picture of the bar.

    >>> line("orders", 50, 100, 2.0)
    'orders [###############               ]  50% 50 of 100 records, 25/s, 2 s left'
    """
    name = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
    speed = done / seconds if seconds > 0 else 0.0
    rate = f"{speed:,.0f}/s" if speed else "-/s"
    if total is None:
        return f"{name} {done:,} records, {rate}"
    share = min(1.0, done / total) if total else 1.0
    bar = "#" * int(WIDTH * share)
    left = f", {(total - done) / speed:,.0f} s left" if speed and done < total else ""
    return f"{name} [{bar:<{WIDTH}}] {share:4.0%} {done:,} of {total:,} records, {rate}{left}"


@contextmanager
def progress_bar(
    name: str, progress: Progress, *, to: TextIO | None = None, clock: Clock = SYSTEM_CLOCK
) -> Generator[None, None, None]:
    """Draw while the body runs, and a last time at its end."""
    pen = _Pen(sys.stderr if to is None else to)
    began, over = clock(), threading.Event()

    def picture() -> str:
        done, total = progress()
        return line(name, done, total, clock() - began)

    def go_on() -> None:
        while not over.wait(REFRESH):
            pen.draw(picture())

    thread = threading.Thread(target=go_on, name="flowdsl-progress", daemon=True) if pen.redraws else None
    if thread is not None:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread is not None:
            thread.join()
        pen.end(picture())


class _Pen:
    """Writes one line over and over. Nothing of an earlier, longer picture is left."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._drawn = 0
        self.redraws = out is not None and _can_redraw(out)

    def draw(self, text: str) -> None:
        shown = text[: terminal.width() - 1]  # a line that wraps could not be drawn over
        self._write(f"\r{shown:<{self._drawn}}")
        self._drawn = len(shown)

    def end(self, text: str) -> None:
        if self.redraws:
            self.draw(text)
            self._write("\n")
        else:
            self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        if self._out is None:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):  # closed, or full: no reason to end a run
            self._out = None


def _can_redraw(out: TextIO) -> bool:
    """A terminal, or a notebook, which follows a carriage return as a terminal does."""
    try:
        return out.isatty() or type(out).__module__.startswith("ipykernel.")
    except ValueError:  # closed
        return False
