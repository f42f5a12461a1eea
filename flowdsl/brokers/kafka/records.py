"""What a consumer of Kafka returns: values and places, and the messages of librdkafka only for those who ask for more.

The interpreter's garbage collector looks at every message that is alive, again and again, and at no bytes or numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.outgoing import from_milliseconds
from flowdsl.records import Extent, RecordPart, Records, Run
from flowdsl.types import Partition, Record


class KafkaRecords(Records):
    """Records in the order in which they were read. ``values_only``: they are known by value and place only."""

    __slots__ = ("_extent", "_payload", "messages")
    positions: dict[Partition, int]

    def __init__(self, *, values_only: bool) -> None:
        super().__init__({})
        self._payload: list[Any] = []
        self._extent = Extent(self.positions)
        self.messages: list[Message] | None = None if values_only else []

    def take(self, messages: list[Message], passed: Mapping[Partition, range], places: Places) -> None:
        """Add what a read brought. ``passed``: the offsets that each partition moved past; empty where that is not known."""
        for partition, offsets in _whole_runs(messages, passed, places) or _runs_of(messages, places):
            self._extent.add(partition, offsets)
        self._payload += map(Message.value, messages)
        if self.messages is not None:
            self.messages += messages
        for partition, offsets in passed.items():
            self.positions[partition] = offsets.stop

    def __len__(self) -> int:
        return len(self._payload)

    @property
    def payload(self) -> list[Any]:
        return self._payload

    @property
    def partition(self) -> Partition | None:
        return self._extent.only

    def column(self, part: RecordPart, at: Sequence[int] | None = None) -> Sequence[Any]:
        if self.messages is None:
            return super().column(part, at)
        messages = self.messages if at is None else [self.messages[index] for index in at]
        if part == "key":
            return list(map(Message.key, messages))
        if part == "headers":
            return list(map(Message.headers, messages))
        return [stamp if kind and stamp >= 0 else None for kind, stamp in map(Message.timestamp, messages)]

    def extent(self) -> Extent:
        return self._extent

    def place(self, index: int) -> tuple[Partition, int]:
        return self._extent.place(index)

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
        return self._cut(self._extent.between(start, stop), self.positions if stop >= len(self) else {})

    def without(self, partitions: Collection[Partition]) -> KafkaRecords:
        """Those of other partitions."""
        pieces = self._extent.between(0, len(self))
        kept = (piece for piece in pieces if piece[2].partition not in partitions)
        return self._cut(kept, {p: offset for p, offset in self.positions.items() if p not in partitions})

    def _cut(self, pieces: Iterable[tuple[int, int, Run]], positions: Mapping[Partition, int]) -> KafkaRecords:
        """Of each of these runs what is between two indexes of the read."""
        cut = KafkaRecords(values_only=self.messages is None)
        for start, stop, run in pieces:
            cut._extent.add(run.partition, run.offsets[start - run.start : stop - run.start])
            cut._payload += self._payload[start:stop]
            if cut.messages is not None and self.messages is not None:
                cut.messages += self.messages[start:stop]
        cut.positions.update(positions)
        return cut


def _whole_runs(
    messages: list[Any], passed: Mapping[Partition, range], places: Places
) -> list[tuple[Partition, range]] | None:
    """The runs, where a look at their ends is enough: each partition's records came together, and all that it passed came.

    A partition gives no more records than it has offsets, in their order. So where the numbers are equal it gave one for
    each, and where the last of them stands that far behind the first there is nothing else in between.
    """
    if sum(map(len, passed.values())) != len(messages):
        return None
    runs: list[tuple[Partition, range]] = []
    at = 0
    while at < len(messages):
        first = messages[at]
        partition = places[first.topic(), first.partition()]
        offsets = passed.get(partition)
        if not offsets or at + len(offsets) > len(messages):
            return None
        at += len(offsets)
        last = messages[at - 1]
        if last.offset() != offsets[-1] or places[last.topic(), last.partition()] != partition:
            return None
        runs.append((partition, offsets))
    return runs


def _runs_of(messages: list[Any], places: Places) -> Iterator[tuple[Partition, Sequence[int]]]:
    """Where partitions take turns, or offsets are missing, each message is asked."""
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
