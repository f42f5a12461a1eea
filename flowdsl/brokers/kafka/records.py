"""What a consumer of Kafka returns: values and places, and the messages of librdkafka only for those who ask for more.

The interpreter's garbage collector looks at every message that is alive, again and again, and at no bytes or numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.outgoing import from_milliseconds
from flowdsl.records import RecordPart, Records
from flowdsl.types import Partition, Record


class Run(NamedTuple):
    """Records of one partition that follow each other. ``start``: the index of the first of them in its read."""

    start: int
    partition: Partition
    offsets: Sequence[int]


class KafkaRecords(Records):
    """Records in the order in which they were read. ``messages`` None: they are known by value and place only."""

    __slots__ = ("_payload", "messages", "runs")

    def __init__(
        self,
        payload: list[Any],
        runs: Sequence[Run],
        positions: Mapping[Partition, int],
        messages: list[Message] | None,
    ) -> None:
        super().__init__(positions)
        self._payload, self.runs, self.messages = payload, runs, messages

    def __len__(self) -> int:
        return len(self._payload)

    @property
    def payload(self) -> list[Any]:
        return self._payload

    @property
    def partition(self) -> Partition | None:
        return self.runs[0].partition if len(self.runs) == 1 else None

    def column(self, part: RecordPart, at: Sequence[int] | None = None) -> Sequence[Any]:
        if self.messages is None:
            return super().column(part, at)
        messages = self.messages if at is None else [self.messages[index] for index in at]
        if part == "key":
            return list(map(Message.key, messages))
        if part == "headers":
            return list(map(Message.headers, messages))
        return [stamp if kind and stamp >= 0 else None for kind, stamp in map(Message.timestamp, messages)]

    def place(self, index: int) -> tuple[Partition, int]:
        runs = self.runs
        start, partition, offsets = runs[0] if len(runs) == 1 else runs[bisect_right(runs, index, key=_START) - 1]
        return partition, offsets[index - start]

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
        return KafkaRecords(
            self._payload[start:stop],
            [
                Run(max(run.start - start, 0), run.partition, run.offsets[max(start - run.start, 0) : stop - run.start])
                for run in self.runs
                if run.start < stop and start < run.start + len(run.offsets)
            ],
            self.positions if stop >= len(self) else {},
            None if self.messages is None else self.messages[start:stop],
        )

    def committable_below(self, stop: int) -> dict[Partition, int]:
        if stop == len(self) and self.positions:
            return dict(self.positions)
        return {
            run.partition: run.offsets[min(stop - run.start, len(run.offsets)) - 1] + 1
            for run in self.runs
            if run.start < stop
        }

    def without(self, partitions: Collection[Partition]) -> KafkaRecords:
        """Those of other partitions."""
        kept = [
            self.window(run.start, run.start + len(run.offsets)) for run in self.runs if run.partition not in partitions
        ]
        positions = {partition: offset for partition, offset in self.positions.items() if partition not in partitions}
        return KafkaRecords.joined(kept, positions)

    @staticmethod
    def joined(parts: Sequence[KafkaRecords], positions: Mapping[Partition, int] | None = None) -> KafkaRecords:
        """What was read bit by bit. ``positions``: behind all of them; None: those of the parts."""
        if positions is None:
            positions = {partition: offset for part in parts for partition, offset in part.positions.items()}
        payload: list[Any] = []
        messages: list[Message] | None = []
        runs: list[Run] = []
        for part in parts:
            runs += [Run(len(payload) + run.start, run.partition, run.offsets) for run in part.runs]
            payload += part.payload
            messages = None if messages is None or part.messages is None else messages + part.messages
        return KafkaRecords(payload, _merged(runs), positions, messages)


_START = attrgetter("start")


def _merged(runs: Sequence[Run]) -> list[Run]:
    """Neighbours of one partition are one run."""
    merged: list[Run] = []
    for run in runs:
        if merged and merged[-1].partition == run.partition:
            start, partition, before = merged.pop()
            merged.append(Run(start, partition, _one_behind_the_other(before, run.offsets)))
        else:
            merged.append(run)
    return merged


def _one_behind_the_other(before: Sequence[int], after: Sequence[int]) -> Sequence[int]:
    if isinstance(before, range) and isinstance(after, range) and before.stop == after.start:
        return range(before.start, after.stop)
    return [*before, *after]


def records_of(
    messages: list[Message], positions: Mapping[Partition, int], places: Places, *, values_only: bool
) -> KafkaRecords:
    """What a read brought. ``positions``: of the partitions that it moved; empty where that is not known."""
    payload = list(map(Message.value, messages))
    return KafkaRecords(payload, _runs_of(messages, positions, places), positions, None if values_only else messages)


def _runs_of(messages: list[Any], positions: Mapping[Partition, int], places: Places) -> list[Run]:
    """Each message is asked where several partitions moved, or offsets are missing between the first and the last."""
    if not messages:
        return []
    first, last = messages[0], messages[-1]
    begin, end = first.offset(), last.offset() + 1
    if len(positions) == 1 and end - begin == len(messages):  # they ascend
        (only,) = positions
        if only == places[first.topic(), first.partition()] == places[last.topic(), last.partition()]:
            return [Run(0, only, range(begin, end))]
    offsets = list(map(Message.offset, messages))
    runs: list[Run] = []
    stop = 0
    of_each: Iterator[Any] = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
    for place, same in groupby(of_each):
        start, stop = stop, stop + len(list(same))
        runs.append(Run(start, places[place], _ascending(offsets[start:stop])))
    return runs


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
