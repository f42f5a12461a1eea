"""What users say about invalid records of hand-written strategies: where they go, and how many are too many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future
from types import UnionType
from typing import Any

from msgspec import Struct

from flowdsl.brokers.protocols import Producer
from flowdsl.errors import shown
from flowdsl.types import BrokerValue, KafkaPayload, Topic


class DlqProducer(ABC):
    """Where a ``DlqPolicy`` puts invalid records."""

    @abstractmethod
    def produce(self, value: BrokerValue[KafkaPayload], reason: str | None = None) -> Future[Any]:
        """Send one record; the future is done once it is safe."""

    def poll(self) -> None:  # noqa: B027  # optional
        """Serve reports. Called on every turn of the loop."""

    def close(self) -> None:  # noqa: B027  # optional
        """Free what it holds."""


class KafkaDlqProducer(DlqProducer):
    """Sends invalid records to a topic, with their own key, value and headers, and where they came from."""

    def __init__(self, producer: Producer, topic: Topic) -> None:
        refuse_others("producer", producer, "what broker.producer() returns", hasattr(producer, "produce"))
        must_be("topic", topic, Topic, 'a Topic, such as Topic("dead")')
        self._producer, self._topic = producer, topic

    def produce(self, value: BrokerValue[KafkaPayload], reason: str | None = None) -> Future[Any]:
        place = {
            "original_topic": value.partition.topic.name,
            "original_partition": str(value.partition.index),
            "original_offset": str(value.offset),
            **({} if reason is None else {"reason": reason}),
        }
        headers = (*value.payload.headers, *((name, text.encode()) for name, text in place.items()))
        return self._producer.produce(self._topic, KafkaPayload(value.payload.key, value.payload.value, headers))

    def poll(self) -> None:
        self._producer.poll()


class DlqLimit(Struct, frozen=True):
    """How many invalid records of one partition are too many.

    ``max_invalid_ratio``: their share of all records read so far; the first one is always within it.
    ``max_consecutive_count``: so many in a row, in the order in which they were read.
    """

    max_invalid_ratio: float | None = None
    max_consecutive_count: int | None = None

    def __post_init__(self) -> None:
        ratio, most = self.max_invalid_ratio, self.max_consecutive_count
        is_ratio = isinstance(ratio, int | float) and not isinstance(ratio, bool)
        refuse_others("max_invalid_ratio", ratio, "a number from 0 to 1, or None", ratio is None or is_ratio)
        is_count = isinstance(most, int) and not isinstance(most, bool)
        refuse_others("max_consecutive_count", most, "a whole number, or None", most is None or is_count)
        if ratio is not None and not 0 <= ratio <= 1:
            msg = f"max_invalid_ratio must be from 0 to 1, but is {ratio}"
            raise ValueError(msg)
        if most is not None and most < 0:
            msg = f"max_consecutive_count must not be negative, but is {most}"
            raise ValueError(msg)


class DlqPolicy(Struct, frozen=True):
    """What happens to invalid records. Beyond ``limit`` the run stops with DlqLimitExceeded.

    ``max_buffered_messages_per_partition``: of how many records under way the original is kept; None: of all.
    """

    producer: DlqProducer
    limit: DlqLimit | None = None
    max_buffered_messages_per_partition: int | None = None

    def __post_init__(self) -> None:
        limit, most = self.limit, self.max_buffered_messages_per_partition
        has_produce = callable(getattr(self.producer, "produce", None))
        refuse_others("producer", self.producer, "a KafkaDlqProducer, or another DlqProducer", has_produce)
        must_be("limit", limit, DlqLimit | None, "a DlqLimit, or None")
        is_count = isinstance(most, int) and not isinstance(most, bool)
        name = "max_buffered_messages_per_partition"
        refuse_others(name, most, "a whole number, or None", most is None or is_count)
        if most is not None and most < 1:
            msg = f"{name} must be at least 1, but is {most}"
            raise ValueError(msg)


def must_be(name: str, value: object, kind: type | UnionType, wanted: str) -> None:
    """Raise TypeError naming the argument, unless the value is of that kind."""
    refuse_others(name, value, wanted, isinstance(value, kind))


def refuse_others(name: str, value: object, wanted: str, fits: bool) -> None:
    """Raise TypeError naming the argument, unless the value fits."""
    if not fits:
        msg = f"{name} must be {wanted}, not {shown(value)}"
        raise TypeError(msg)
