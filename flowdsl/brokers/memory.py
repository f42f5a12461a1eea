"""Reads values in memory through the same protocol as records of a broker: bounded, nothing is committed.

No value is lost or read twice: what an iterable gave before it raised is returned first, the error with the next read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from flowdsl.brokers.protocols import Listener, Topics
from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.errors import BrokerError
from flowdsl.records import Records
from flowdsl.types import BrokerValue, KafkaPayload, Partition, Record, Topic

NO_TOPIC = Topic("")
_FAST, _SLOW = 0.01, 0.05
"""Seconds: a read that is quicker lets the next one take twice as much, one that is slower half as much."""


class MemoryRecords(Records):
    """Consecutive values of one iterable; ``first`` is the index of the first."""

    __slots__ = ("_first", "_partition", "_values")

    def __init__(self, values: list[Any], first: int, partition: Partition, positions: Mapping[Partition, int]) -> None:
        super().__init__(positions)
        self._values, self._first, self._partition = values, first, partition

    def __len__(self) -> int:
        return len(self._values)

    @property
    def payload(self) -> list[Any]:
        return self._values

    @property
    def partition(self) -> Partition:
        return self._partition

    def place(self, index: int) -> tuple[Partition, int]:
        return self._partition, self._first + index

    def record(self, index: int) -> Record[Any]:
        return Record("", 0, self._first + index, None, self._values[index])

    def window(self, start: int, stop: int) -> MemoryRecords:
        positions: Mapping[Partition, int] = self.positions if stop >= len(self) else {}
        return MemoryRecords(self._values[start:stop], self._first + start, self._partition, positions)

    def nbytes(self) -> int:
        """Values are here already and take nothing more: 0."""
        return 0

    def committable_below(self, stop: int) -> dict[Partition, int]:
        return {self._partition: self._first + stop} if stop else {}


class _Supply:
    """One iterable: what is next, and the error that ended it."""

    __slots__ = ("error", "iterator", "partition", "read")

    def __init__(self, values: Iterable[Any], index: int) -> None:
        self.iterator: Iterator[Any] | None = iter(values)
        self.partition = Partition(NO_TOPIC, index)
        self.read = 0
        self.error: BaseException | None = None

    def take(self, limit: int) -> MemoryRecords:
        if self.error is not None:
            raise self.error
        values: list[Any] = []
        if self.iterator is not None:
            try:
                values.extend(islice(self.iterator, limit))  # what came before an error stays in the list
            except BaseException as error:  # whatever a user's iterator raises, once its values are out
                self.error = error
                if not values:
                    raise
            if len(values) < limit and self.error is None:
                self.iterator = None
        first, self.read = self.read, self.read + len(values)
        return MemoryRecords(values, first, self.partition, {self.partition: self.read} if values else {})


class MemoryConsumer:
    """Implements ``Consumer`` over iterables, which are read in turn, the k-th as partition k of a topic without name."""

    commits = False
    commits_start = False
    poll_interval = float("inf")

    def __init__(self, iterables: Collection[Iterable[Any]], *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._supplies = [_Supply(values, index) for index, values in enumerate(iterables)]
        self._waiting = list(self._supplies)
        self._clock = clock
        self._pace = 1
        self._listener: Listener | None = None
        self._paused: set[Partition] = set()

    def subscribe(self, topics: Topics, listener: Listener) -> None:  # noqa: ARG002  # there is but one source
        self._listener = listener

    def read(self, limit: int, timeout: float) -> MemoryRecords:  # noqa: ARG002  # an iterable makes us wait by itself
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.assigned({supply.partition: supply.read for supply in self._supplies})
        for supply in self._waiting:
            if supply.partition not in self._paused:
                return self._read(supply, limit)
        return MemoryRecords([], 0, Partition(NO_TOPIC, 0), {})

    def _read(self, supply: _Supply, limit: int) -> MemoryRecords:
        """Read on at the pace that the iterable keeps: a slow one must not hold up what it gave already."""
        began = self._clock()
        records = supply.take(min(limit, self._pace))
        took = self._clock() - began
        if took < _FAST:
            self._pace = max(self._pace, min(2 * self._pace, 2 * limit))
        elif took > _SLOW:
            self._pace = max(1, self._pace // 2)
        self._waiting.remove(supply)
        if supply.iterator is not None:
            self._waiting.append(supply)
        return records

    def poll(self, timeout: float = 0.0) -> BrokerValue[KafkaPayload] | None:
        records = self.read(1, timeout)
        if not len(records):
            return None
        partition, offset = records.place(0)
        return BrokerValue(KafkaPayload(None, records.payload[0]), partition, offset)

    def pause(self, partitions: Collection[Partition]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._paused.difference_update(partitions)

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        for supply in self._supplies:
            if offsets.get(supply.partition, supply.read) != supply.read:
                msg = "values in memory are read once: they cannot be read again from an earlier offset"
                raise BrokerError(msg)

    def commit(self, offsets: Mapping[Partition, int], answered: Callable[[BrokerError | None], None]) -> None:  # noqa: ARG002  # nothing is kept
        answered(BrokerError("values in memory have no offsets to commit"))

    def settle(self, timeout: float) -> None:
        """Nothing is ever under way."""

    def ends(self) -> None:
        """Nobody knows before the iterables end."""

    def offsets_at(self, when: datetime) -> dict[Partition, int]:  # noqa: ARG002  # values in memory have no time but this
        """What was read by now: asked at that moment."""
        return {supply.partition: supply.read for supply in self._supplies}

    @property
    def exhausted(self) -> bool:
        return not self._waiting

    def close(self, timeout: float) -> None:  # noqa: ARG002  # nothing to wait for
        self._waiting.clear()
        self._supplies.clear()
