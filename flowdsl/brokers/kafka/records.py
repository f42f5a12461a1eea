"""What a consumer of Kafka returns: values and places, and the messages of librdkafka only for those who ask for more.

The interpreter's garbage collector looks at every message that is alive, again and again, and at no bytes or numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message
from msgspec import Struct

from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.outgoing import from_milliseconds
from flowdsl.records import Extent, RecordPart, Records
from flowdsl.types import Partition, Record


class Run(Struct):
    """Records of one partition that follow each other. ``start``: the index of the first of them in its read."""

    start: int
    partition: Partition
    offsets: Sequence[int]


class Runs(Extent):
    """Neighbours of one partition are one run."""

    __slots__ = ("_runs",)

    def __init__(self, positions: Mapping[Partition, int]) -> None:
        super().__init__(positions)
        self._runs: list[Run] = []

    def add(self, partition: Partition, offsets: Sequence[int]) -> None:
        """The next records, of which there is at least one."""
        runs = self._runs
        last = runs[-1] if runs else None
        if last is None:
            runs.append(Run(0, partition, offsets))
            return
        before = last.offsets
        if last.partition != partition:
            runs.append(Run(last.start + len(before), partition, offsets))
        elif isinstance(before, range) and isinstance(offsets, range) and before.stop == offsets.start:
            last.offsets = range(before.start, offsets.stop)
        else:
            last.offsets = [*before, *offsets]

    def __len__(self) -> int:
        return self._runs[-1].start + len(self._runs[-1].offsets) if self._runs else 0

    @property
    def only(self) -> Partition | None:
        """The partition of all of them, where there is but one."""
        return self._runs[0].partition if len(self._runs) == 1 else None

    def place(self, index: int) -> tuple[Partition, int]:
        runs = self._runs
        run = runs[0] if len(runs) == 1 else runs[bisect_right(runs, index, key=_START) - 1]
        return run.partition, run.offsets[index - run.start]

    def committable_below(self, stop: int) -> dict[Partition, int]:
        if stop == len(self) and self.positions:
            return dict(self.positions)
        return {run.partition: run.offsets[end - run.start - 1] + 1 for _, end, run in self.between(0, stop)}

    def between(self, start: int, stop: int) -> Iterator[tuple[int, int, Run]]:
        """The runs that are there, with the indexes between which they are."""
        for run in self._runs:
            first, last = max(run.start, start), min(run.start + len(run.offsets), stop)
            if first < last:
                yield first, last, run


class KafkaRecords(Records):
    """Records in the order in which they were read. ``values_only``: they are known by value and place only."""

    __slots__ = ("_payload", "_runs", "messages")
    positions: dict[Partition, int]

    def __init__(self, *, values_only: bool) -> None:
        super().__init__({})
        self._payload: list[Any] = []
        self._runs = Runs(self.positions)
        self.messages: list[Message] | None = None if values_only else []

    def take(self, messages: list[Message], positions: Mapping[Partition, int], places: Places) -> None:
        """Add what a read brought. ``positions``: of the partitions that it moved; empty where that is not known."""
        only = _only_run(messages, positions, places)
        if only is not None:
            self._runs.add(*only)
        else:
            for partition, offsets in _runs_of(messages, places):
                self._runs.add(partition, offsets)
        self._payload += map(Message.value, messages)
        if self.messages is not None:
            self.messages += messages
        self.positions.update(positions)

    def __len__(self) -> int:
        return len(self._payload)

    @property
    def payload(self) -> list[Any]:
        return self._payload

    @property
    def partition(self) -> Partition | None:
        return self._runs.only

    def column(self, part: RecordPart, at: Sequence[int] | None = None) -> Sequence[Any]:
        if self.messages is None:
            return super().column(part, at)
        messages = self.messages if at is None else [self.messages[index] for index in at]
        if part == "key":
            return list(map(Message.key, messages))
        if part == "headers":
            return list(map(Message.headers, messages))
        return [stamp if kind and stamp >= 0 else None for kind, stamp in map(Message.timestamp, messages)]

    def extent(self) -> Runs:
        return self._runs

    def place(self, index: int) -> tuple[Partition, int]:
        return self._runs.place(index)

    def record(self, index: int) -> Record[Any]:
        partition, offset = self.place(index)
        topic, number, value = partition.topic.name, partition.index, self._payload[index]
        if self.messages is None:
            return Record(topic, number, offset, None, value)
        message: Any = self.messages[index]
        headers, moment = tuple(message.headers() or ()), as_datetime(*message.timestamp())
        return Record(topic, number, offset, message.key(), value, headers, moment)

    def window(self, start: int, stop: int) -> KafkaRecords:
        if start == 0 and stop >= len(self):
            return self
        return self._cut(self._runs.between(start, stop), self.positions if stop >= len(self) else {})

    def committable_below(self, stop: int) -> dict[Partition, int]:
        return self._runs.committable_below(stop)

    def without(self, partitions: Collection[Partition]) -> KafkaRecords:
        """Those of other partitions."""
        pieces = self._runs.between(0, len(self))
        kept = (piece for piece in pieces if piece[2].partition not in partitions)
        return self._cut(kept, {p: offset for p, offset in self.positions.items() if p not in partitions})

    def _cut(self, pieces: Iterable[tuple[int, int, Run]], positions: Mapping[Partition, int]) -> KafkaRecords:
        """Of each of these runs what is between two indexes of the read."""
        cut = KafkaRecords(values_only=self.messages is None)
        for start, stop, run in pieces:
            cut._runs.add(run.partition, run.offsets[start - run.start : stop - run.start])
            cut._payload += self._payload[start:stop]
            if cut.messages is not None and self.messages is not None:
                cut.messages += self.messages[start:stop]
        cut.positions.update(positions)
        return cut


_START = attrgetter("start")


def _only_run(
    messages: list[Any], positions: Mapping[Partition, int], places: Places
) -> tuple[Partition, range] | None:
    """What they are if only one partition moved, and no offset is missing between the first and the last: they ascend."""
    if len(positions) != 1 or not messages:
        return None
    first, last = messages[0], messages[-1]
    begin, end = first.offset(), last.offset() + 1
    (only,) = positions
    if end - begin != len(messages) or places[first.topic(), first.partition()] != only:
        return None
    return (only, range(begin, end)) if places[last.topic(), last.partition()] == only else None


def _runs_of(messages: list[Any], places: Places) -> Iterator[tuple[Partition, Sequence[int]]]:
    """Where several partitions moved, or offsets are missing, each message is asked."""
    offsets = list(map(Message.offset, messages))
    of_each: Iterator[Any] = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
    stop = 0
    for place, same in groupby(of_each):
        start, stop = stop, stop + len(list(same))
        yield places[place], _ascending(offsets[start:stop])


def _ascending(offsets: list[Any]) -> Sequence[int]:
    """As a range where none is missing."""
    first, stop = offsets[0], offsets[-1] + 1
    return range(first, stop) if stop - first == len(offsets) else offsets


def as_datetime(kind: int, milliseconds: int) -> datetime | None:
    """Aware, in UTC; None where the record has no timestamp, or one that no date can hold."""
    if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0:
        return None
    try:
        return from_milliseconds(milliseconds)
    except OverflowError:
        return None
