"""Writes to Kafka: idempotent, and every record is answered for.

A broker refuses a whole batch because of one record in it. So those that were refused together are sent once more, each by
itself, and only then is told which of them it was; nothing new is taken meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from attrs import frozen
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from flowdsl.brokers.kafka.closing import within
from flowdsl.brokers.kafka.errors import error_of, is_refused, is_unknown, sorted_error
from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.kafka.records import as_datetime, as_milliseconds
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.outgoing import as_outgoing
from flowdsl.brokers.protocols import Delivery, Outgoing
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerError, DeliveryFailed
from flowdsl.types import BrokerValue, KafkaPayload, Partition, Topic

POLL = 0.05
ROOM_SECONDS = 10.0
"""How long a single record waits for room in the queue."""
DISPOSE_SECONDS = 1.0

_CAUGHT = frozenset(
    {
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.POLICY_VIOLATION,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    }
)
"""What a broker says to a whole batch, whichever record it means."""


@frozen
class _Suspect:
    """A record that was refused together with others."""

    delivery: Delivery
    index: int
    record: Outgoing


class _Answer(Future[BrokerValue[KafkaPayload]]):
    """The answer to one record. Whoever waits for it lets librdkafka call back."""

    def __init__(self, serve: Callable[[float], None]) -> None:
        super().__init__()
        self._serve = serve

    def result(self, timeout: float | None = None) -> BrokerValue[KafkaPayload]:
        return super().result(self._wait(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return super().exception(self._wait(timeout))

    def _wait(self, timeout: float | None) -> float | None:
        deadline = Deadline.after(SYSTEM_CLOCK, timeout)
        while not self.done() and not deadline.expired:
            left = deadline.remaining()
            self._serve(POLL if left is None else min(POLL, left))
        return None if self.done() else 0.0


class KafkaProducer:
    """Implements ``Producer``. ``partitions_of``: how many partitions a topic has; raises TopicNotFound and the like."""

    def __init__(self, handle: Producer, *, name: str, weather: Weather, partitions_of: Callable[[str], int]) -> None:
        self._handle, self._name, self._weather, self._partitions_of = handle, name, weather, partitions_of
        self._refused: deque[tuple[Delivery, int, BrokerError]] = deque()
        self._suspects: deque[_Suspect] = deque()
        self._alone: _Suspect | None = None
        self._known: set[str] = set()
        self._places = Places()
        self._closed = False

    def expect(self, topic: str) -> None:
        self._check_open()
        if topic not in self._known:
            self._partitions_of(topic)
            self._known.add(topic)

    def send(self, records: Sequence[Outgoing], delivery: Delivery, first: int = 0) -> int:
        self._check_open()
        if self._suspects or self._alone:
            return 0
        taken = 0
        report = self._report
        for record in records:
            try:
                self._produce(record, partial(report, delivery, first + taken, record))
            except BufferError:
                break
            except KafkaException as failure:
                error = self._sorted(record, error_of(failure))
                self._refused.append((delivery, first + taken, error))
            taken += 1
        delivery.waiting += taken
        return taken

    def poll(self, timeout: float = 0.0) -> None:
        self._check_open()
        self._handle.poll(0 if self._refused else timeout)
        while self._refused:
            delivery, index, error = self._refused.popleft()
            delivery.report(index, error)
        self._try_alone()
        raised, self._weather.raised = self._weather.raised, None
        if raised is not None:
            raise raised

    def produce(self, destination: Topic | Partition, payload: KafkaPayload) -> Future[BrokerValue[KafkaPayload]]:
        self._check_open()
        record = as_outgoing(destination, payload, None)
        future = _Answer(self._serve)
        deadline = Deadline.after(SYSTEM_CLOCK, ROOM_SECONDS)
        while True:
            try:
                self._produce(record, partial(self._answer, future, record))
            except BufferError as full:
                if not deadline.expired:
                    self._handle.poll(POLL)
                    continue
                future.set_exception(
                    DeliveryFailed(f"a record for {record.topic!r} found no room in the queue: {full}")
                )
            except KafkaException as failure:
                future.set_exception(self._sorted(record, error_of(failure)))
            return future

    def purge(self) -> None:
        if not self._closed:
            self._suspects.clear()
            self._alone = None
            self._handle.purge(blocking=False)

    def close(self, timeout: float) -> None:
        if self._closed:
            return
        deadline = Deadline.after(SYSTEM_CLOCK, timeout)
        while self._is_busy() and not deadline.expired:
            self.poll(min(POLL, deadline.remaining() or 0.0))
        self.purge()
        self._handle.poll(0)
        self._closed = True
        handles = [self._handle]
        del self._handle
        within(max(DISPOSE_SECONDS, deadline.remaining() or 0.0), handles.clear)  # the last reference: it ends here

    # -- one record -----------------------------------------------------------------------------------------------

    def _produce(self, record: Outgoing, answer: Callable[[Any, Any], None]) -> None:
        """Raises BufferError where the queue is full, and KafkaException for a record that is refused right here."""
        topic, index, key, value, headers, when = record
        partition = -1 if index is None else index
        if headers or when is not None:
            milliseconds = 0 if when is None else as_milliseconds(when)
            self._handle.produce(
                topic, value, key, partition, answer, timestamp=milliseconds, headers=list(headers) or None
            )
        else:
            self._handle.produce(topic, value, key, partition, answer)

    def _report(self, delivery: Delivery, index: int, record: Outgoing, error: KafkaError | None, _: Message) -> None:
        if error is None:
            delivery.waiting -= 1
        elif error.code() in _CAUGHT:
            self._suspects.append(_Suspect(delivery, index, record))
        else:
            delivery.report(index, self._sorted(record, error))

    def _try_alone(self) -> None:
        """Send the next suspect, once nothing else is under way that it could travel with."""
        while self._suspects and self._alone is None and not len(self._handle):
            suspect = self._suspects.popleft()
            self._alone = suspect
            try:
                self._produce(suspect.record, partial(self._report_alone, suspect))
            except (BufferError, KafkaException) as failure:
                self._alone = None
                suspect.delivery.report(suspect.index, self._sorted(suspect.record, error_of(failure)))

    def _report_alone(self, suspect: _Suspect, error: KafkaError | None, _: Message) -> None:
        self._alone = None
        suspect.delivery.report(suspect.index, None if error is None else self._sorted(suspect.record, error))

    def _answer(self, future: _Answer, record: Outgoing, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            future.set_exception(self._sorted(record, error))
            return
        partition = self._places[record.topic, message.partition() or 0]
        payload = KafkaPayload(record.key, record.value, record.headers)
        future.set_result(BrokerValue(payload, partition, message.offset() or 0, as_datetime(*message.timestamp())))

    def _sorted(self, record: Outgoing, error: KafkaError) -> BrokerError:
        doing = f"writing to {record.topic!r}"
        if record.partition is not None and error.code() == KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001  # librdkafka's own errors are named so
            return DeliveryFailed(self._told_partition(record.topic, record.partition))
        if is_refused(error) or is_unknown(error) or error.fatal():
            return sorted_error(error, doing, self._name)
        return DeliveryFailed(f"{doing}: {self._name} did not take the record: {error.str()} ({error.name()})")

    def _told_partition(self, topic: str, index: int) -> str:
        try:
            count = self._partitions_of(topic)
        except BrokerError as error:
            return f"topic {topic!r} has no partition {index}: {error}"
        return f"topic {topic!r} has {count} partitions, and none with the number {index}"

    def _is_busy(self) -> bool:
        return bool(self._refused or self._suspects or self._alone or len(self._handle))

    def _serve(self, seconds: float) -> None:
        if not self._closed:
            self.poll(seconds)

    def _check_open(self) -> None:
        if self._closed:
            msg = f"this producer of {self._name} was closed and cannot be used any more"
            raise BrokerError(msg)
