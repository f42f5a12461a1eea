"""Invalid records of hand-written strategies: where they go, and how many are too many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any

from attrs import define, field, frozen

from flowdsl.brokers.protocols import Producer
from flowdsl.clock import Clock, Deadline
from flowdsl.errors import DlqLimitExceeded, FlowError, InvalidMessage
from flowdsl.processing.feeder import broker_value
from flowdsl.records import Records
from flowdsl.types import BrokerValue, KafkaPayload, Partition, Topic

SETTLE_PAUSE = 0.005


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


@frozen
class DlqLimit:
    """How many invalid records of one partition are too many.

    ``max_invalid_ratio``: their share of all records read so far; the first one is always within it.
    ``max_consecutive_count``: so many in a row, in the order in which they were read.
    """

    max_invalid_ratio: float | None = None
    max_consecutive_count: int | None = None


@frozen
class DlqPolicy:
    """What happens to invalid records. Beyond ``limit`` the run stops with DlqLimitExceeded.

    ``max_buffered_messages_per_partition``: of how many records under way the original is kept; None: of all.
    """

    producer: DlqProducer
    limit: DlqLimit | None = None
    max_buffered_messages_per_partition: int | None = None


@define
class _Lane:
    """What is known of one partition."""

    read: int = 0
    invalid: int = 0
    consecutive: int = 0
    last_invalid: int = -2
    originals: deque[tuple[int, BrokerValue[KafkaPayload]]] = field(
        factory=deque[tuple[int, BrokerValue[KafkaPayload]]]
    )
    unsafe: dict[int, Future[Any]] = field(factory=dict[int, "Future[Any]"])
    wanted: int | None = None


class InvalidRecords:
    """Applies a ``DlqPolicy``. An offset is committed only when the invalid records below it are safe."""

    def __init__(self, policy: DlqPolicy, clock: Clock) -> None:
        self._policy, self._clock = policy, clock
        self._lanes: dict[Partition, _Lane] = {}

    def read(self, records: Records) -> None:
        """These were read; keep the originals until their offsets are done."""
        most = self._policy.max_buffered_messages_per_partition
        for index in range(len(records)):
            value = broker_value(records, index)
            lane = self._lanes.setdefault(value.partition, _Lane())
            lane.originals.append((lane.read, value))
            lane.read += 1
            if most is not None and len(lane.originals) > most:
                lane.originals.popleft()

    def handle(self, invalid: InvalidMessage) -> None:
        """Produce the original. Raises DlqLimitExceeded, or FlowError if the original is not kept any more."""
        lane = self._lanes.setdefault(invalid.partition, _Lane())
        found = next(((at, value) for at, value in lane.originals if value.offset == invalid.offset), None)
        if found is None:
            text = f"{invalid}: its original is not kept any more; raise max_buffered_messages_per_partition"
            raise FlowError(text) from invalid
        self._count(lane, found[0], invalid)
        lane.unsafe[invalid.offset] = self._policy.producer.produce(found[1], invalid.reason)

    def cap(self, offsets: Mapping[Partition, int]) -> dict[Partition, int]:
        """How far may be committed, given that all up to ``offsets`` is done. Raises what a produce raised."""
        self._policy.producer.poll()
        for partition, offset in offsets.items():
            lane = self._lanes.setdefault(partition, _Lane())
            lane.wanted = offset if lane.wanted is None else max(offset, lane.wanted)
        return {p: self._safe(lane) for p, lane in self._lanes.items() if lane.wanted is not None}

    def settle(self, deadline: Deadline) -> None:
        """Wait until all that was produced is safe, or the time is up."""
        while self._is_waiting() and not deadline.expired:
            deadline.pause(SETTLE_PAUSE)

    def released(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._lanes.pop(partition, None)

    def close(self) -> None:
        self._policy.producer.close()

    def _is_waiting(self) -> bool:
        self._policy.producer.poll()
        return any(not future.done() for lane in self._lanes.values() for future in lane.unsafe.values())

    def _safe(self, lane: _Lane) -> int:
        for offset in [offset for offset, future in lane.unsafe.items() if future.done()]:
            lane.unsafe[offset].result()
            del lane.unsafe[offset]
        safe = min(lane.wanted or 0, *lane.unsafe) if lane.unsafe else lane.wanted or 0
        while lane.originals and lane.originals[0][1].offset < safe:
            lane.originals.popleft()
        return safe

    def _count(self, lane: _Lane, at: int, invalid: InvalidMessage) -> None:
        limit = self._policy.limit or DlqLimit()
        lane.invalid += 1
        lane.consecutive = lane.consecutive + 1 if at == lane.last_invalid + 1 else 1
        lane.last_invalid = at
        most, ratio = limit.max_consecutive_count, limit.max_invalid_ratio
        if most is not None and lane.consecutive > most:
            text = f"{lane.consecutive} invalid records in a row on {invalid.partition}, {most} are allowed; last: {invalid}"
            raise DlqLimitExceeded(text) from invalid
        if ratio is not None and lane.invalid > max(1.0, ratio * (at + 1)):
            text = f"{lane.invalid} of {at + 1} records of {invalid.partition} are invalid, the share may be {ratio}; last: {invalid}"
            raise DlqLimitExceeded(text) from invalid
