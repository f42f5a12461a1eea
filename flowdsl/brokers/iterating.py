"""One iterable, read as many values at a time as somebody wants.

No value is lost or read twice: what an iterable gave before it raised is returned first, the error with the next read.
An iterator that turns slow holds up what it gave already for a few values at most, and a stop for the one in hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

from flowdsl.clock import Clock

_PLAIN: tuple[Iterable[object], ...] = ([], (), range(0), "", b"", {}, {0})
PROMPT = frozenset(type(iter(values)) for values in _PLAIN)
"""Iterators that run nobody's code: these are never slow."""
PIECE = 32
"""So many values of any other are read between two looks at the clock."""
SLOW = 0.05
"""Seconds after which a read ends with what it has."""


class Stop(Protocol):
    """Whether a run is to end. ``running``: the iterator over a list that whoever ends it moves to its end."""

    stopping: bool
    running: Any


class Iterated:
    """One iterable: what is next, and the error that ended it."""

    has_news = True

    def __init__(self, values: Iterable[Any], stop: Stop, clock: Clock) -> None:
        self._iterator: Iterator[Any] | None = iter(values)
        self._stop, self._clock = stop, clock
        self._error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        return self._iterator is None

    def take(self, limit: int) -> list[Any]:
        if self._error is not None:
            raise self._error
        values: list[Any] = []
        try:
            self._read(values, limit)
        except BaseException as error:  # whatever a user's iterator raises, once its values are out
            self._error = error
            if not values:
                raise
        finally:
            self._stop.running = None
        return values

    def _read(self, values: list[Any], limit: int) -> None:
        """What comes before an error stays in the list."""
        if self._iterator is not None and type(self._iterator) in PROMPT:
            values.extend(islice(self._iterator, limit))
            self._iterator = None if len(values) < limit else self._iterator
            return
        until = self._clock() + SLOW
        while self._iterator is not None and len(values) < limit and self._clock() < until:
            wanted = min(limit, len(values) + PIECE)
            turns = iter([self._iterator] * (wanted - len(values)))
            self._stop.running = turns  # published before the look at the switch, as by all that can be ended
            if self._stop.stopping:
                return
            values.extend(map(next, turns))
            if len(values) < wanted and not self._stop.stopping:
                self._iterator = None
