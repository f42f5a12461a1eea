"""Writes to Kafka: idempotent, and every record is answered for.

A broker refuses a whole batch because of one record in it. So those that were refused together are sent once more, each by
itself, and only then is told which of them it was; nothing new is taken meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import count, repeat
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from flowdsl.brokers.columns import Columns
from flowdsl.brokers.kafka.closing import within
from flowdsl.brokers.kafka.errors import error_of, sorted_error
from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.kafka.records import as_datetime
from flowdsl.brokers.kafka.reports import POLL, Answer, Reports, Suspect
from flowdsl.brokers.kafka.rows import row_of, rows_of
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.outgoing import as_outgoing
from flowdsl.brokers.protocols import Delivery, Outgoing
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerError, DeliveryFailed
from flowdsl.types import BrokerValue, KafkaPayload, Partition, Topic

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
_OF_A_RECORD = (_CAUGHT - {KafkaError.UNSUPPORTED_COMPRESSION_TYPE}) | {KafkaError._INVALID_ARG}  # noqa: SLF001  # librdkafka's own errors are named so
"""Anything else says something about the broker, or about this producer."""


class KafkaProducer:
    """Implements ``Producer``.

    ``partitions_of``: how many partitions a topic has; raises TopicNotFound and the like. ``topics``: which there are.
    """

    def __init__(
        self,
        handle: Producer,
        *,
        name: str,
        weather: Weather,
        partitions_of: Callable[[str], int],
        topics: Callable[[], object],
    ) -> None:
        self._handle, self._name, self._weather = handle, name, weather
        self._partitions_of, self._topics = partitions_of, topics
        self._refused: deque[tuple[Delivery, int, BrokerError]] = deque()
        self._suspects: deque[Suspect] = deque()
        self._alone: Suspect | None = None
        self._known: set[str | None] = set()
        self._places = Places()
        self._closed = False

    def expect(self, topic: str | None) -> None:
        self._check_open()
        if topic not in self._known:
            if topic is None:
                self._topics()
            else:
                self._partitions_of(topic)
            self._known.add(topic)

    def send(self, records: Sequence[Outgoing], delivery: Delivery, first: int = 0) -> int:
        self._check_open()
        if self._suspects or self._alone:
            return 0
        reports = Reports(self.refused, records, delivery, first)
        if isinstance(records, Columns) and records.is_plain:
            taken = self._send_plain(records, reports)
        else:
            taken = self._send_each(records, reports)
        delivery.waiting += taken
        return taken

    def _send_plain(self, records: Columns, reports: Reports) -> int:
        """How many were taken. Nothing is done for a record but the one call."""
        produce, topic, report, index = self._handle.produce, records.topic, reports.any, -1
        rows = zip(count(), records.keys or repeat(None), records.values, strict=False)
        while True:
            try:
                for index, key, value in rows:  # noqa: B007  # needed where one is refused
                    produce(topic, value, key, -1, report)
            except BufferError:
                return index
            except KafkaException as failure:
                self._refuse(reports, index, failure)
            else:
                return index + 1

    def _send_each(self, records: Sequence[Outgoing], reports: Reports) -> int:
        """How many were taken. By position: names of arguments cost more than all else here."""
        produce, index = self._handle.produce, -1
        rows = zip(count(), rows_of(records), reports.each(), strict=False)
        while True:
            try:
                for index, (topic, partition, key, value, headers, stamp), report in rows:  # noqa: B007  # as above
                    produce(topic, value, key, partition, report, None, stamp, headers)
            except BufferError:
                return index
            except KafkaException as failure:
                self._refuse(reports, index, failure)
            else:
                return index + 1

    def _refuse(self, reports: Reports, index: int, failure: KafkaException) -> None:
        """This one could not even be queued; told with the other reports."""
        error = self._sorted(reports.records[index], error_of(failure))
        self._refused.append((reports.delivery, reports.first + index, error))

    def poll(self, timeout: float = 0.0) -> None:
        self._check_open()
        try:
            self._handle.poll(0 if self._refused else timeout)
        except KafkaException as failure:  # fatal ones are raised instead of told
            raise sorted_error(error_of(failure), "writing", self._name) from None
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
        future = Answer(self._serve)
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
        with suppress(KafkaException):  # one that is fatal comes with every call, and was told to whoever waited
            self._handle.poll(0)
        self._closed = True
        handles = [self._handle]
        del self._handle
        within(max(DISPOSE_SECONDS, deadline.remaining() or 0.0), handles.clear)  # the last reference: it ends here

    # -- one record -----------------------------------------------------------------------------------------------

    def _produce(self, record: Outgoing, answer: Callable[[Any, Any], None]) -> None:
        """Raises BufferError where the queue is full, and KafkaException for a record that is refused right here."""
        topic, partition, key, value, headers, stamp = row_of(record)
        self._handle.produce(topic, value, key, partition, answer, None, stamp, headers)

    def refused(self, delivery: Delivery, index: int, record: Outgoing, error: KafkaError) -> None:
        """Librdkafka reports that this record was not taken."""
        if error.code() in _CAUGHT:
            self._suspects.append(Suspect(delivery, index, record))
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

    def _report_alone(self, suspect: Suspect, error: KafkaError | None, _: Message) -> None:
        self._alone = None
        suspect.delivery.report(suspect.index, None if error is None else self._sorted(suspect.record, error))

    def _answer(self, future: Answer, record: Outgoing, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            future.set_exception(self._sorted(record, error))
            return
        partition = self._places[record.topic, message.partition() or 0]
        payload = KafkaPayload(record.key, record.value, record.headers)
        future.set_result(BrokerValue(payload, partition, message.offset() or 0, as_datetime(*message.timestamp())))

    def _sorted(self, record: Outgoing, error: KafkaError) -> BrokerError:
        doing = f"writing to {record.topic!r}"
        if record.partition is not None and error.code() == KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001  # librdkafka's own errors are named so
            return self._without_partition(record.topic, record.partition)
        if error.fatal() or error.code() not in _OF_A_RECORD:
            return sorted_error(error, doing, self._name)
        return DeliveryFailed(f"{doing}: {self._name} did not take the record: {error.str()} ({error.name()})")

    def _without_partition(self, topic: str, index: int) -> BrokerError:
        try:
            count = self._partitions_of(topic)
        except BrokerError as error:
            return type(error)(f"topic {topic!r} has no partition {index}: {error}")
        return DeliveryFailed(f"topic {topic!r} has {count} partitions, and none with the number {index}")

    def _is_busy(self) -> bool:
        return bool(self._refused or self._suspects or self._alone or len(self._handle))

    def _serve(self, seconds: float) -> None:
        if not self._closed:
            self.poll(seconds)

    def _check_open(self) -> None:
        if self._closed:
            msg = f"this producer of {self._name} was closed and cannot be used any more"
            raise BrokerError(msg)
