"""What a consumer of Kafka returns: values and places, and the messages of librdkafka only for those who ask for more.

The interpreter's garbage collector looks at every message that is alive, again and again, and at no bytes or numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.outgoing import from_milliseconds
from flowdsl.records import RecordPart, Records
from flowdsl.types import Partition, Record

Where = Partition | list[Partition]
"""The partition of all records, or that of each."""


class KafkaRecords(Records):
    """Records in the order in which they were read. ``messages`` None: they are known by value and place only."""

    __slots__ = ("_messages", "_payload", "offsets", "where")

    def __init__(
        self,
        payload: list[Any],
        where: Where,
        offsets: Sequence[int],
        positions: Mapping[Partition, int],
        messages: list[Message] | None,
    ) -> None:
        super().__init__(positions)
        self._payload, self._messages = payload, messages
        self.where, self.offsets = where, offsets

    def __len__(self) -> int:
        return len(self._payload)

    @property
    def payload(self) -> list[Any]:
        return self._payload

    @property
    def partition(self) -> Partition | None:
        return self.where if isinstance(self.where, Partition) else None

    def column(self, part: RecordPart, at: Sequence[int] | None = None) -> Sequence[Any]:
        if self._messages is None:
            return super().column(part, at)
        messages = self._messages if at is None else [self._messages[index] for index in at]
        if part == "key":
            return list(map(Message.key, messages))
        if part == "headers":
            return list(map(Message.headers, messages))
        return [stamp if kind and stamp >= 0 else None for kind, stamp in map(Message.timestamp, messages)]

    def place(self, index: int) -> tuple[Partition, int]:
        where = self.where
        return where if isinstance(where, Partition) else where[index], self.offsets[index]

    def record(self, index: int) -> Record[Any]:
        partition, offset = self.place(index)
        topic, number, value = partition.topic.name, partition.index, self._payload[index]
        if self._messages is None:
            return Record(topic, number, offset, None, value)
        message: Any = self._messages[index]
        headers, moment = tuple(message.headers() or ()), as_datetime(*message.timestamp())
        return Record(topic, number, offset, message.key(), value, headers, moment)

    def window(self, start: int, stop: int) -> KafkaRecords:
        if start == 0 and stop >= len(self):
            return self
        where, messages = self.where, self._messages
        return KafkaRecords(
            self._payload[start:stop],
            where if isinstance(where, Partition) else where[start:stop],
            self.offsets[start:stop],
            self.positions if stop >= len(self) else {},
            None if messages is None else messages[start:stop],
        )

    def committable_below(self, stop: int) -> dict[Partition, int]:
        if stop == len(self) and self.positions:
            return dict(self.positions)
        if not stop:
            return {}
        where, offsets = self.where, self.offsets
        if isinstance(where, Partition):
            return {where: offsets[stop - 1] + 1}
        last = dict(zip(where[:stop], offsets[:stop], strict=True))
        return {partition: offset + 1 for partition, offset in last.items()}

    def without(self, partitions: Collection[Partition]) -> KafkaRecords:
        """Those of other partitions."""
        kept = [index for index in range(len(self)) if self.place(index)[0] not in partitions]
        places = [self.place(index) for index in kept]
        return KafkaRecords(
            [self._payload[index] for index in kept],
            [partition for partition, _ in places],
            [offset for _, offset in places],
            {partition: offset for partition, offset in self.positions.items() if partition not in partitions},
            None if self._messages is None else [self._messages[index] for index in kept],
        )

    @staticmethod
    def joined(parts: Sequence[KafkaRecords]) -> KafkaRecords:
        """What was read bit by bit, known by value and place."""
        if len(parts) == 1:
            return parts[0]
        payload = list(chain.from_iterable(part.payload for part in parts))
        where, offsets = _joined_places(parts, len(payload))
        positions = {partition: offset for part in parts for partition, offset in part.positions.items()}
        return KafkaRecords(payload, where, offsets, positions, None)


def _joined_places(parts: Sequence[KafkaRecords], count: int) -> tuple[Where, Sequence[int]]:
    only, first, last = parts[0].partition, parts[0].offsets, parts[-1].offsets
    if only is None or any(part.partition != only for part in parts):
        each = ([part.where] * len(part) if isinstance(part.where, Partition) else part.where for part in parts)
        return list(chain.from_iterable(each)), list(chain.from_iterable(part.offsets for part in parts))
    if last[-1] - first[0] == count - 1:  # they ascend
        return only, range(first[0], last[-1] + 1)
    return only, list(chain.from_iterable(part.offsets for part in parts))


def records_of(
    messages: list[Message], positions: Mapping[Partition, int], places: Places, *, values_only: bool
) -> KafkaRecords:
    """What a read brought. ``positions``: of the partitions that it moved; empty where that is not known."""
    payload = list(map(Message.value, messages))
    where, offsets = _places_of(messages, positions, places)
    return KafkaRecords(payload, where, offsets, positions, None if values_only else messages)


def _places_of(messages: list[Any], positions: Mapping[Partition, int], places: Places) -> tuple[Where, Sequence[int]]:
    """Each message is asked where several partitions moved, or offsets are missing between the first and the last."""
    if not messages:
        return [], ()
    first, last = messages[0], messages[-1]
    begin, end = first.offset(), last.offset() + 1
    if len(positions) == 1 and end - begin == len(messages):  # they ascend
        (only,) = positions
        if only == places[first.topic(), first.partition()] == places[last.topic(), last.partition()]:
            return only, range(begin, end)
    where = [places[message.topic(), message.partition()] for message in messages]
    return where, [message.offset() for message in messages]


def as_datetime(kind: int, milliseconds: int) -> datetime | None:
    """Aware, in UTC; None where the record has no timestamp, or one that no date can hold."""
    if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0:
        return None
    try:
        return from_milliseconds(milliseconds)
    except OverflowError:
        return None
