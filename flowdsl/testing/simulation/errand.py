"""Up to where a member reads: for good, or a part of what there is, as a bounded run does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from flowdsl.clock import Clock
from flowdsl.processing.bounds import Bounds
from flowdsl.testing.simulation.faults import MOST_AT_ONCE, Dice
from flowdsl.types import Partition


class Errand(Struct, frozen=True):
    """What one member is to do. ``ends``: where the logs ended when it began."""

    ends: Mapping[Partition, int]
    count: int | None = None
    until: Literal["end"] | None = None
    timeout: float | None = None

    @classmethod
    def drawn(cls, dice: Dice, ends: Mapping[Partition, int]) -> Errand:
        """For good, as a rule."""
        if not dice.falls(dice.weather.bounded):
            return cls(ends)
        random = dice.random
        timeout = random.choice((None, None, 1.0, 5.0))
        if dice.falls(0.5):
            return cls(ends, until="end", timeout=timeout)
        return cls(ends, count=random.randint(1, 2 * MOST_AT_ONCE), timeout=timeout)

    def bounds(self, clock: Clock) -> Bounds:
        return Bounds(clock, count=self.count, until=self.until)

    def __str__(self) -> str:
        parts = {"count": self.count, "until": self.until, "timeout": self.timeout}
        return "".join(f", {name}={value!r}" for name, value in parts.items() if value is not None)
