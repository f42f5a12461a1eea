"""Reads values in memory, and of Observables, through the same protocol as records of a broker: nothing is committed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from flowdsl.brokers.iterating import SLOW, Iterated, Stop
from flowdsl.brokers.protocols import Listener, Topics
from flowdsl.clock import SYSTEM_CLOCK, Clock, Deadline
from flowdsl.errors import BrokerError
from flowdsl.reactive.bell import Bell
from flowdsl.reactive.inbox import Inbox
from flowdsl.records import Extent, Records
from flowdsl.types import BrokerValue, KafkaPayload, Partition, Record, Topic

NO_TOPIC = Topic("")
_GROWTH = 16
"""A read takes so many times as much as the last one, as long as that should not be slow."""
LARGEST_READ = 2000
"""Reading costs next to nothing here; of more values the first have left the processor's cache when the last are there."""
SPARSE = 8
"""A window of fewer than one in so many records of its read has a list of its own."""


class MemoryRecords(Records):
    """Consecutive values of one iterable; ``first`` is the index of the first. Large windows share the list of their read."""

    __slots__ = ("_first", "_partition", "_start", "_stop", "_values")

    def __init__(
        self,
        values: list[Any],
        first: int,
        partition: Partition,
        positions: Mapping[Partition, int],
        bounds: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(positions)
        self._values, self._first, self._partition = values, first, partition
        self._start, self._stop = bounds or (0, len(values))

    def __len__(self) -> int:
        return self._stop - self._start

    @property
    def payload(self) -> list[Any]:
        is_whole = self._stop - self._start == len(self._values)
        return self._values if is_whole else self._values[self._start : self._stop]

    @property
    def partition(self) -> Partition:
        return self._partition

    def place(self, index: int) -> tuple[Partition, int]:
        return self._partition, self._first + index

    def extent(self) -> Extent:
        extent = Extent(self.positions)
        extent.add(self._partition, range(self._first, self._first + len(self)))
        return extent

    def record(self, index: int) -> Record[Any]:
        return Record("", 0, self._first + index, None, self._values[self._start + index])

    def window(self, start: int, stop: int) -> MemoryRecords:
        length = len(self)
        stop = min(stop, length)
        if start == 0 and stop == length:
            return self
        positions: Mapping[Partition, int] = self.positions if stop == length else {}
        first, bounds = self._first + start, (self._start + start, self._start + stop)
        if SPARSE * (stop - start) < len(self._values):  # a few records do not keep all of a read
            return MemoryRecords(self._values[slice(*bounds)], first, self._partition, positions)
        return MemoryRecords(self._values, first, self._partition, positions, bounds)


class _Supply:
    """Where the values of one partition come from, and how many of them were read."""

    __slots__ = ("partition", "read", "values")

    def __init__(self, values: Iterated | Inbox, index: int) -> None:
        self.values = values
        self.partition = Partition(NO_TOPIC, index)
        self.read = 0

    def take(self, limit: int) -> MemoryRecords:
        values = self.values.take(limit)
        first, self.read = self.read, self.read + len(values)
        return MemoryRecords(values, first, self.partition, {self.partition: self.read} if values else {})


class MemoryConsumer:
    """Implements ``Consumer`` over iterables and Observables, which are read in turn, the k-th as partition k of a topic
    without name. ``stop`` ends a read after the value in hand.
    """

    commits = False
    commits_start = False
    is_beginning = False
    poll_interval = float("inf")
    largest_read = LARGEST_READ

    def __init__(self, sources: Collection[Iterable[Any] | Inbox], stop: Stop, *, clock: Clock = SYSTEM_CLOCK) -> None:
        given = (each if isinstance(each, Inbox) else Iterated(each, stop, clock) for each in sources)
        self._supplies = [_Supply(values, index) for index, values in enumerate(given)]
        self._inboxes = [values for values in sources if isinstance(values, Inbox)]
        self._bell = Bell()
        self._waiting = list(self._supplies)
        self._clock = clock
        self._pace = 1
        self._listener: Listener | None = None
        self._paused: set[Partition] = set()

    def subscribe(self, topics: Topics, listener: Listener) -> None:  # noqa: ARG002  # there is but one source
        self._listener = listener
        for inbox in self._inboxes:
            inbox.open(self._bell)

    def read(self, limit: int, timeout: float) -> MemoryRecords:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.assigned({supply.partition: supply.read for supply in self._supplies})
        supply = self._next()
        if supply is None and self._inboxes and timeout:
            self._bell.wait(timeout, lambda: self._next() is not None)
            supply = self._next()
        if supply is not None:
            return self._read(supply, limit)
        return MemoryRecords([], 0, Partition(NO_TOPIC, 0), {})

    def _next(self) -> _Supply | None:
        """The one whose turn it is, of those that have something; an iterable makes us wait by itself."""
        for supply in self._waiting:
            if supply.values.has_news and supply.partition not in self._paused:
                return supply
        return None

    def _read(self, supply: _Supply, limit: int) -> MemoryRecords:
        """Read on at the pace that the iterable keeps: a slow one must not hold up what it gave already."""
        began = self._clock()
        records = supply.take(min(limit, self._pace))
        took = self._clock() - began
        if took * _GROWTH < SLOW:
            self._pace = max(self._pace, min(_GROWTH * self._pace, 2 * limit))
        elif took > SLOW:
            self._pace = max(1, int(len(records) * SLOW / took))
        self._waiting.remove(supply)
        if not supply.values.is_over:
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

    def confirm(self, timeout: float) -> None:
        """There are no topics that could be made anew."""

    def ends(self, partitions: Collection[Partition] | None = None) -> None:
        """Nobody knows before the iterables end."""

    def offsets_at(self, when: datetime) -> dict[Partition, int]:  # noqa: ARG002  # values in memory have no time but this
        """What was read by now: asked at that moment."""
        return {supply.partition: supply.read for supply in self._supplies}

    def known_ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:  # noqa: ARG002  # as ``ends``
        return {}

    @property
    def exhausted(self) -> bool:
        return not self._waiting

    def close(self, timeout: float) -> None:
        deadline = Deadline.after(SYSTEM_CLOCK, timeout)
        for inbox in self._inboxes:
            inbox.close(deadline)
        self._waiting.clear()
        self._supplies.clear()
