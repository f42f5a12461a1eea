"""Factories as people wire them by hand: for tests that run them on a real loop."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flowdsl.errors import InvalidMessage
from flowdsl.strategies import (
    BaseValue,
    BatchStep,
    Commit,
    CommitOffsets,
    FilterStep,
    KafkaPayload,
    Message,
    Partition,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    Produce,
    Reduce,
    RunTask,
    Topic,
    UnbatchStep,
    Unfold,
    Value,
)
from flowdsl.strategies.produce import Produces

Order = dict[str, Any]


def parse(message: Message[KafkaPayload]) -> Order:
    """The order in a record; what cannot be read is invalid."""
    try:
        order: Order = json.loads(message.payload.value or b"")
    except ValueError as error:
        raise InvalidMessage.from_value(message, reason=str(error)) from error
    return order


def is_paid(message: Message[Order]) -> bool:
    return bool(message.payload["paid"])


def to_record(message: Message[Order]) -> KafkaPayload:
    return KafkaPayload(str(message.payload["id"]).encode(), json.dumps(message.payload).encode())


class PrintingFactory(ProcessingStrategyFactory[KafkaPayload]):
    """Collect the values, one by one."""

    def __init__(self) -> None:
        self.seen: list[bytes | None] = []

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        return RunTask(lambda message: self.seen.append(message.payload.value), CommitOffsets(commit))


class BatchingFactory(ProcessingStrategyFactory[KafkaPayload]):
    """Parse, keep what is paid, write in batches."""

    def __init__(self, size: int = 100, within: float = 1.0) -> None:
        self.size, self.within = size, within
        self.written: list[list[Order]] = []

    def write(self, message: Message[Sequence[BaseValue[Order]]]) -> None:
        self.written.append([value.payload for value in message.payload])

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        write = RunTask(self.write, CommitOffsets(commit))
        return RunTask(parse, FilterStep(is_paid, BatchStep(self.size, self.within, write)))


class ForwardingFactory(ProcessingStrategyFactory[KafkaPayload]):
    """Parse, keep what is paid, produce to another topic; committed once acknowledged."""

    def __init__(self, producer: Produces, topic: Topic) -> None:
        self.producer, self.topic = producer, topic

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        produce = Produce(self.producer, self.topic, CommitOffsets(commit))
        return RunTask(parse, FilterStep(is_paid, RunTask(to_record, produce)))


class ExplodingFactory(ProcessingStrategyFactory[KafkaPayload]):
    """One line per item of an order, in batches that are taken apart again."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        keep = RunTask[Any, None](lambda message: self.items.append(message.payload), CommitOffsets(commit))
        return RunTask(parse, Unfold(_items, BatchStep(10, 1.0, UnbatchStep(keep))))


class CountingFactory(ProcessingStrategyFactory[KafkaPayload]):
    """How many orders of each customer, every so many records."""

    def __init__(self, size: int = 10, within: float = 1.0) -> None:
        self.size, self.within = size, within
        self.counts: list[dict[str, int]] = []

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        keep = RunTask[dict[str, int], None](lambda message: self.counts.append(message.payload), CommitOffsets(commit))
        return RunTask(parse, Reduce(self.size, self.within, _count, dict[str, int], keep))


def _items(order: Order) -> list[BaseValue[Any]]:
    return [Value(item, {}) for item in order.get("items", [])]


def _count(counts: dict[str, int], value: BaseValue[Order]) -> dict[str, int]:
    customer = value.payload["customer"]
    return {**counts, customer: counts.get(customer, 0) + 1}
