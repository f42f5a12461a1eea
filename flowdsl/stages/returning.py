"""Invalid records that are given to a hand-written strategy again, and what waits behind them.

A strategy knows records by offsets that only grow. So a record is given to it again once everything of its partitions
has left, and what comes later of these waits until then; what the strategy has of it already passes.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from flowdsl.clock import Clock
from flowdsl.stages.failures import Failure
from flowdsl.stages.ledger import MOST_APART
from flowdsl.stages.passage import Passage, Passing
from flowdsl.types import Partition

PATIENCE = 10.0
"""Seconds for which a strategy may keep records of a partition when one of them should be given to it again."""
LOOK = 1.0
"""What passes between two looks counts for no more than so many of these seconds: perhaps the strategy had no turn."""


class Return(Struct, eq=False):
    """A record that is to be given again at that time. ``waited``: for how long the strategy has kept others since."""

    at: float
    passing: Passing
    failure: Failure
    waited: float = 0.0


class Returning:
    """What is to be given again, and what is held back, each in the order of arrival."""

    def __init__(self, passage: Passage, clock: Clock) -> None:
        self._passage, self._clock = passage, clock
        self._returns: list[Return] = []
        self._behind: deque[Passing] = deque()
        self._looked = clock()

    @property
    def has_room(self) -> bool:
        """Whether more may be held back."""
        return len(self._behind) < MOST_APART

    def set_aside(self, passing: Passing, failure: Failure, at: float) -> None:
        """Give it again at that time."""
        self._returns.append(Return(at, passing, failure))
        self._returns.sort(key=lambda each: each.passing.number)

    def holds_back(self, passing: Passing) -> bool:
        """Keep this if it must not pass what is to be given again; whether that is so."""
        if not self._returns or passing.attempts:
            return False
        held = set[Partition]().union(
            *(each.passing.partitions() for each in self._returns), *(each.partitions() for each in self._behind)
        )
        if held.isdisjoint(passing.partitions()):
            return False
        self._behind.append(passing)
        return True

    def due(self, *, is_held_up: bool) -> tuple[list[Passing], list[Failure]]:
        """What is to be given now, with what waited behind it, and what the strategy cannot be given again.

        ``is_held_up``: what the strategy hands on is not taken, so that it has to keep it.
        """
        now, given, in_vain, rest = self._clock(), list[Passing](), list[Failure](), list[Return]()
        passed, self._looked = 0.0 if is_held_up else min(LOOK, now - self._looked), now
        held = set[Partition]()
        for each in self._returns:
            if not held.isdisjoint(each.passing.partitions()):
                each.at = max(each.at, now)  # the one before it comes first, however long that takes
                rest.append(each)
            elif each.at <= now and self._passage.can_return(each.passing):
                given.append(each.passing)
            elif each.at <= now and each.waited >= PATIENCE:
                self._passage.give_up(each.passing)
                in_vain.append(each.failure)
            else:
                each.waited += passed if each.at <= now else 0.0
                rest.append(each)
                held |= each.passing.partitions()
        if len(rest) < len(self._returns):
            self._returns = rest
            given += self._behind  # who still has to wait is held back again
            self._behind.clear()
        return given, in_vain

    def deadline(self) -> float | None:
        """When ``due`` may have something to give."""
        now = self._clock()
        return min((each.at if each.at > now else now + LOOK for each in self._returns), default=None)

    def is_worth_waiting_for(self, until: float | None) -> bool:
        """Whether something is to be given again before that moment; None: whenever."""
        moments = (each.at for each in self._returns)
        return bool(self._returns) and (until is None or (min(moments) <= until and self._clock() < until))

    def clear(self) -> None:
        self._returns.clear()
        self._behind.clear()
