"""Virtual time moves only when told to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowdsl.clock import Deadline
from flowdsl.testing.virtual import VirtualClock


def test_it_stands_still() -> None:
    clock = VirtualClock()
    assert (clock(), clock()) == (0.0, 0.0)


def test_seconds_and_date_move_together() -> None:
    clock = VirtualClock(start=100.0, date=datetime(2024, 2, 28, 23, tzinfo=UTC))
    clock.advance(3600.0)
    clock.sleep(0.5)
    assert clock() == 3700.5
    assert clock.utc() == datetime(2024, 2, 29, 0, 0, 0, 500_000, tzinfo=UTC)


def test_it_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="seconds must not be negative, but is -1"):
        VirtualClock().advance(-1)


def test_a_date_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="date must be aware"):
        VirtualClock(date=datetime(2024, 1, 1))  # noqa: DTZ001  # the mistake itself


def test_deadlines_stand_on_it() -> None:
    clock = VirtualClock()
    deadline = Deadline.after(clock, 2.0)
    deadline.pause(1.5)
    assert (clock(), deadline.remaining(), deadline.expired) == (1.5, 0.5, False)
    deadline.pause(1.5)
    assert (clock(), deadline.remaining(), deadline.expired) == (2.0, 0.0, True)
