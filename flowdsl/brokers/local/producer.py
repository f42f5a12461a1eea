"""A writer of the embedded broker: records are in the log when ``send`` returns, and are reported by ``poll``."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime

from flowdsl.brokers.local.log import Log
from flowdsl.brokers.local.storage import Storage
from flowdsl.brokers.local.waiter import Waiter
from flowdsl.brokers.naming import without_partition
from flowdsl.brokers.outgoing import as_outgoing, from_milliseconds
from flowdsl.brokers.partitioner import Partitioner
from flowdsl.brokers.protocols import Delivery, Outgoing
from flowdsl.clock import Clock
from flowdsl.errors import BrokerError, DeliveryFailed, shown
from flowdsl.types import BrokerValue, KafkaPayload, Partition, Topic


class LocalProducer:
    """Implements ``Producer``. ``queue_size``: how many records may wait for their report."""

    def __init__(self, storage: Storage, *, clock: Clock, waiter: Waiter, partitions: int, queue_size: int) -> None:
        self._storage, self._clock, self._waiter = storage, clock, waiter
        self._new_partitions, self._queue_size = partitions, queue_size
        self._partitioner = Partitioner()
        self._reports: deque[tuple[Delivery, int, BrokerError | None]] = deque()
        self._closed = False

    def expect(self, topic: str | None, partition: int | None = None) -> None:
        self._check_open()
        if topic is None or partition is None:
            return
        count = self._storage.topics().get(
            topic, self._new_partitions
        )  # the first record makes a topic that is not there
        if partition >= count:
            raise without_partition(topic, partition, count)

    def send(self, records: Sequence[Outgoing], delivery: Delivery, first: int = 0) -> int:
        self._check_open()
        taken = min(len(records), self._queue_size - len(self._reports))
        now = self._clock.utc()
        with self._storage.lock:
            for index in range(taken):
                answer = self._write(records[index], now)
                error = answer if isinstance(answer, BrokerError) else None
                self._reports.append((delivery, first + index, error))
        delivery.waiting += taken
        self._waiter.notify()
        return taken

    def poll(self, timeout: float = 0.0) -> None:  # noqa: ARG002  # every report is there already
        while self._reports:
            delivery, index, error = self._reports.popleft()
            delivery.report(index, error)

    def produce(self, destination: Topic | Partition, payload: KafkaPayload) -> Future[BrokerValue[KafkaPayload]]:
        self._check_open()
        now = self._clock.utc()
        record = as_outgoing(destination, payload, now)
        with self._storage.lock:
            answer = self._write(record, now)
        self._waiter.notify()
        future: Future[BrokerValue[KafkaPayload]] = Future()
        if isinstance(answer, BrokerError):
            future.set_exception(answer)
        else:
            partition, offset = answer
            written = KafkaPayload(record.key, record.value, record.headers)
            future.set_result(BrokerValue(written, partition, offset, now))
        return future

    def purge(self) -> None:
        self._reports.clear()

    def close(self, timeout: float) -> None:
        self.poll(timeout)
        self._closed = True

    def _check_open(self) -> None:
        self._storage.check_open()
        if self._closed:
            msg = f"this producer of {self._storage.name} was closed and cannot be used any more"
            raise BrokerError(msg)

    def _write(self, record: Outgoing, now: datetime) -> tuple[Partition, int] | BrokerError:
        """Append one record, under the storage's lock; the answer is where it is, or why it was refused."""
        try:
            self._storage.create(record.topic, self._new_partitions)
        except (TypeError, ValueError) as refused:
            return DeliveryFailed(f"a record was not taken: {refused}")
        logs = self._storage.logs(record.topic)
        index = record.partition
        if index is None:
            index = self._partitioner(record.topic, record.key, len(logs))
        if not 0 <= index < len(logs):
            return without_partition(record.topic, index, len(logs))
        when = now if record.timestamp is None else record.timestamp
        if isinstance(when, int):
            when = from_milliseconds(when)
        if when.tzinfo is None:
            return DeliveryFailed(f"a record for {record.topic!r} has a timestamp without a time zone: {shown(when)}")
        return Partition(Topic(record.topic), index), _append(logs[index], record, when)


def _append(log: Log, record: Outgoing, when: datetime) -> int:
    utc = when if when.tzinfo is UTC else when.astimezone(UTC)
    return log.append(record.key, record.value, record.headers, utc)
