"""Time that moves only when told to: a ``Clock`` for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Stands still until somebody sleeps on it or advances it. ``utc()`` moves along from 2024-01-01.

    >>> clock = VirtualClock()
    >>> clock.sleep(1.5)
    >>> clock(), clock.utc().isoformat()
    (1.5, '2024-01-01T00:00:01.500000+00:00')
    """

    def __init__(self, *, start: float = 0.0, date: datetime = BEGINNING) -> None:
        if date.tzinfo is None:
            msg = f"date must be aware of its time zone, but is {date!r}"
            raise ValueError(msg)
        self._start = self._now = start
        self._date = date.astimezone(UTC)

    def __call__(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def utc(self) -> datetime:
        return self._date + timedelta(seconds=self._now - self._start)

    def advance(self, seconds: float) -> None:
        """Let time pass, at once. Raises ValueError for a negative number: clocks only go forward."""
        if not seconds >= 0:
            msg = f"seconds must not be negative, but is {seconds!r}"
            raise ValueError(msg)
        self._now += seconds

    def __repr__(self) -> str:
        return f"VirtualClock(now={self._now})"
