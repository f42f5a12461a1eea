"""What a consumer of Kafka returns: messages as librdkafka gave them, looked into only when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.outgoing import from_milliseconds
from flowdsl.records import RecordPart, Records
from flowdsl.types import Partition, Record


class KafkaRecords(Records):
    """Messages without errors, in the order in which they were read. ``only``: the partition of all, where there is one."""

    __slots__ = ("_messages", "_only", "_payload", "_places")

    def __init__(
        self,
        messages: list[Message],
        positions: Mapping[Partition, int],
        places: Places,
        only: Partition | None = None,
        payload: list[Any] | None = None,
    ) -> None:
        super().__init__(positions)
        self._messages, self._places, self._only, self._payload = messages, places, only, payload

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def payload(self) -> list[Any]:
        if self._payload is None:
            self._payload = list(map(Message.value, self._messages))
        return self._payload

    @property
    def partition(self) -> Partition | None:
        return self._only

    def column(self, part: RecordPart, at: Sequence[int] | None = None) -> Sequence[Any]:
        messages = self._messages if at is None else [self._messages[index] for index in at]
        if part == "key":
            return list(map(Message.key, messages))
        if part == "headers":
            return list(map(Message.headers, messages))
        return [stamp if kind and stamp >= 0 else None for kind, stamp in map(Message.timestamp, messages)]

    def nbytes(self) -> int:
        return sum(map(len, self._messages))

    def place(self, index: int) -> tuple[Partition, int]:
        message = self._messages[index]
        return self._places[message.topic(), message.partition()], message.offset()  # type: ignore[index,return-value]  # a message without error has them

    def record(self, index: int) -> Record[Any]:
        message: Any = self._messages[index]
        return Record(
            message.topic(),
            message.partition(),
            message.offset(),
            message.key(),
            message.value(),
            tuple(message.headers() or ()),
            as_datetime(*message.timestamp()),
        )

    def window(self, start: int, stop: int) -> KafkaRecords:
        if start == 0 and stop >= len(self):
            return self
        payload = None if self._payload is None else self._payload[start:stop]
        positions: Mapping[Partition, int] = self.positions if stop >= len(self) else {}
        return KafkaRecords(self._messages[start:stop], positions, self._places, self._only, payload)

    def committable_below(self, stop: int) -> dict[Partition, int]:
        if stop == len(self) and self.positions:
            return dict(self.positions)
        return offsets_after(self._messages[:stop], self._places)


def offsets_after(messages: Sequence[Message], places: Places) -> dict[Partition, int]:
    """The next offset after the last of these messages, in each partition that has one."""
    where: Any = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
    last: dict[Any, Any] = dict(zip(where, map(Message.offset, messages), strict=True))
    return {places[place]: offset + 1 for place, offset in last.items()}


def as_datetime(kind: int, milliseconds: int) -> datetime | None:
    """Aware, in UTC; None where the record has no timestamp, or one that no date can hold."""
    if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0:
        return None
    try:
        return from_milliseconds(milliseconds)
    except OverflowError:
        return None
