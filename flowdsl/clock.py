"""The only place that asks what time it is, and the only one that sleeps."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from math import isnan
from threading import TIMEOUT_MAX
from typing import Protocol

from msgspec import Struct

from flowdsl.errors import shown

Duration = float | timedelta


class Clock(Protocol):
    """Seconds that only grow, a way to let them pass, and the date."""

    def __call__(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        ...

    def utc(self) -> datetime:
        """The date and time now, aware, in UTC."""
        ...


class SystemClock:
    """The clock of the machine."""

    __call__ = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def utc(self) -> datetime:
        return datetime.now(UTC)


SYSTEM_CLOCK = SystemClock()


class Deadline(Struct, frozen=True):
    """A moment after which a wait ends; ``at`` None means never."""

    clock: Clock
    at: float | None

    @classmethod
    def after(cls, clock: Clock, seconds: float | None) -> Deadline:
        longest = waitable(seconds)
        return cls(clock, None if longest is None else clock() + longest)

    @property
    def expired(self) -> bool:
        return self.at is not None and self.clock() >= self.at

    def remaining(self) -> float | None:
        """Seconds that are left, at least 0; None where there is no end."""
        return None if self.at is None else max(0.0, self.at - self.clock())

    def pause(self, seconds: float) -> None:
        """Sleep for that long, or until the deadline if that is sooner."""
        left = self.remaining()
        self.clock.sleep(seconds if left is None else min(seconds, left))


def to_seconds(duration: Duration, name: str) -> float:
    """A duration given by a user, in seconds. Raises TypeError or ValueError naming the argument and its value."""
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, int | float) and not isinstance(duration, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
        seconds = _as_float(duration, name)
    else:
        msg = f"{name} must be a number of seconds or a timedelta, not {shown(duration)}"
        raise TypeError(msg)
    if isnan(seconds):
        msg = f"{name} must be a number of seconds or a timedelta, not {duration}"
        raise ValueError(msg)
    if seconds < 0:
        msg = f"{name} must not be negative, but is {shown(duration)}"
        raise ValueError(msg)
    return seconds


def _as_float(number: float, name: str) -> float:
    try:
        return float(number)
    except OverflowError:
        msg = f"{name} must be a number of seconds that fits a float, which one of {len(str(number))} digits does not"
        raise ValueError(msg) from None


def waitable(seconds: float | None) -> float | None:
    """Seconds as threads can wait; None, for ever, also where there are more than that, as in ``float("inf")``."""
    return None if seconds is None or seconds > TIMEOUT_MAX else seconds


def optional_seconds(duration: Duration | None, name: str) -> float | None:
    return None if duration is None else to_seconds(duration, name)
