"""How a loop drives a strategy, in virtual time, and what must hold after each of its turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from flowdsl.errors import InvalidMessage
from flowdsl.strategies import FilteredPayload, Message, MessageRejected, Partition, ProcessingStrategy
from flowdsl.testing.virtual import VirtualClock
from tests.strategies.doubles import P0, P1, Recorder, at, filtered
from tests.strategies.rows import Row

PATIENCE = 2_000
"""Turns after which a message that is still rejected is never taken."""


class Bench:
    """One strategy in front of an end, and everything that was put into it."""

    def __init__(self, row: Row, end: Recorder, *, invalid: Sequence[int] = ()) -> None:
        self.row, self.end = row, end
        self.clock = VirtualClock()
        self.touched: list[int] = []
        self.invalid: list[InvalidMessage] = []
        self._bad = {n: self._message(n) for n in invalid}
        self._data: list[tuple[int, Partition, int]] = []
        self.strategy: ProcessingStrategy[Any] = row.build(end, self.clock, self._touch)

    def _touch(self, n: int) -> None:
        self.touched.append(n)
        if n in self._bad:
            raise InvalidMessage.from_value(self._bad[n])

    def _message(self, n: int) -> Message[Any]:
        """Every third goes to another partition, where offsets have gaps."""
        return at(n * 5, self.row.payload(n), P1) if n % 3 == 2 else at(n, self.row.payload(n))

    def message(self, n: int, *, empty: bool = False) -> Message[Any]:
        message = self._message(n)
        ((partition, offset),) = message.committable.items()
        return filtered(offset - 1, partition) if empty else message

    def put(self, message: Message[Any]) -> None:
        """Submit it until it is taken, polling in between; afterwards nothing may be committed too early."""
        for _ in range(PATIENCE):
            try:
                self.strategy.submit(message)
            except MessageRejected:
                self.turn()
            except InvalidMessage as invalid:
                self.invalid.append(invalid)
                break
            else:
                break
        else:
            raise AssertionError(f"{self.row.name} never took {message}")
        self.check()

    def feed(self, numbers: Sequence[int], *, empty: Sequence[int] = ()) -> None:
        for n in numbers:
            message = self.message(n, empty=n in empty)
            if not isinstance(message.payload, FilteredPayload) and n not in self._bad:
                ((partition, offset),) = message.committable.items()
                self._data.append((n, partition, offset))
            self.put(message)

    def settle(self) -> None:
        """Work that is done elsewhere, in real time, is done."""
        self.row.settle(self.strategy)

    def turn(self) -> None:
        self.settle()
        self.clock.advance(0.01)
        self._catching(self.strategy.poll)
        self.check()

    def finish(self, timeout: float | None = 100.0) -> None:
        self.strategy.close()
        self.settle()
        while self._catching(lambda: self.strategy.join(timeout)):
            self.check()
        self.check()

    def _catching(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except InvalidMessage as invalid:
            self.invalid.append(invalid)
            return True
        return False

    @property
    def outputs(self) -> list[int]:
        return [n for payload in self.end.payloads for n in self.row.numbers(payload)]

    def expected(self, numbers: Sequence[int]) -> list[int]:
        return [n for n in numbers for _ in range(self.row.copies)]

    def check(self) -> None:
        """Committed is at least what was delivered, and never past anything that was not."""
        delivered = Counter(self.outputs)
        for n, partition, offset in self._data:
            committed = self.end.committed.get(partition, 0)
            if delivered[n] < self.row.copies:
                assert committed < offset, f"{n} is not done, and {partition} is committed up to {committed}"
            elif not self.row.lags:
                assert committed >= offset, f"{n} is done, and {partition} is committed only up to {committed}"


def everything(numbers: Sequence[int]) -> dict[Partition, int]:
    """What is committed once all of these are done."""
    ends: dict[Partition, int] = {}
    for n in numbers:
        partition, end = (P1, n * 5 + 1) if n % 3 == 2 else (P0, n + 1)
        ends[partition] = end
    return ends
