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
from flowdsl.brokers.kafka.refusals import DOUBTFUL, Refusals
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
LOOK_SECONDS, LONGEST_LOOK = 5.0, 0.2
"""How often a broker that is away is asked whether it is back, and how long the answer may take."""


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
        self._refusals, self._topics = Refusals(name, partitions_of), topics
        self._refused: deque[tuple[Delivery, int, BrokerError]] = deque()
        self._suspects: deque[Suspect] = deque()
        self._alone: Suspect | None = None
        self._known: set[tuple[str | None, int | None]] = set()
        self._places = Places()
        self._latest = Delivery()
        self._next_look = Deadline.after(SYSTEM_CLOCK, 0.0)
        self._closed = False

    def expect(self, topic: str | None, partition: int | None = None) -> None:
        self._check_open()
        if (topic, partition) not in self._known:
            if topic is None:
                self._topics()
            else:
                self._refusals.expect(topic, partition)
            self._known.add((topic, partition))
            self._weather.came_back()

    def send(self, records: Sequence[Outgoing], delivery: Delivery, first: int = 0) -> int:
        self._check_open()
        if self._suspects or self._alone:
            return 0
        reports = Reports(self.refused, records, delivery, first)
        if isinstance(records, Columns) and records.is_plain:
            taken = self._send_plain(records, reports)
        else:
            taken = self._send_each(records, reports)
        if not taken and len(records) and not len(self._handle):
            self._refused.append((delivery, first, self._refusals.larger_than_queue(records[0])))
            taken = 1
        delivery.waiting += taken
        self._latest = delivery
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
        error = self._refusals.told(reports.records[index], error_of(failure))
        self._refused.append((reports.delivery, reports.first + index, error))

    def poll(self, timeout: float = 0.0) -> None:
        self._check_open()
        self._weather.serve(self._handle)
        before = self._undelivered if self._weather.is_away else None
        try:
            self._handle.poll(0 if self._refused else timeout)
        except KafkaException as failure:  # fatal ones are raised instead of told
            raise sorted_error(error_of(failure), "writing", self._name) from None
        while self._refused:
            delivery, index, error = self._refused.popleft()
            delivery.report(index, error)
        self._try_alone()
        if before is not None:
            self._look_for_broker(is_heard=self._undelivered < before)
        raised, self._weather.raised = self._weather.raised, None
        if raised is not None:
            raise raised

    @property
    def _undelivered(self) -> int:
        """How many of the records that were sent last are not delivered."""
        return self._latest.waiting + len(self._latest.failed)

    def _look_for_broker(self, *, is_heard: bool) -> None:
        """Ask one that is away whether it is back: of a producer that has nothing to send nothing else tells."""
        if is_heard:
            self._weather.came_back()
        elif self._next_look.expired:
            self._next_look = Deadline.after(SYSTEM_CLOCK, LOOK_SECONDS)
            with suppress(KafkaException):
                self._handle.list_topics(timeout=LONGEST_LOOK)
                self._weather.came_back()
                return
            self._weather.not_answered(self._handle)

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
                    self.poll(POLL)
                    continue
                future.set_exception(
                    DeliveryFailed(f"a record for {record.topic!r} found no room in the queue: {full}")
                )
            except KafkaException as failure:
                future.set_exception(self._refusals.told(record, error_of(failure)))
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
        self._weather.closes()
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
        if error.code() in DOUBTFUL:
            self._suspects.append(Suspect(delivery, index, record))
        else:
            delivery.report(index, self._refusals.told(record, error))

    def _try_alone(self) -> None:
        """Send the next suspect, once nothing else is under way that it could travel with."""
        while self._suspects and self._alone is None and not len(self._handle):
            suspect = self._suspects.popleft()
            self._alone = suspect
            try:
                self._produce(suspect.record, partial(self._report_alone, suspect))
            except (BufferError, KafkaException) as failure:
                self._alone = None
                suspect.delivery.report(suspect.index, self._refusals.told(suspect.record, error_of(failure)))

    def _report_alone(self, suspect: Suspect, error: KafkaError | None, _: Message) -> None:
        self._alone = None
        suspect.delivery.report(suspect.index, None if error is None else self._refusals.told(suspect.record, error))

    def _answer(self, future: Answer, record: Outgoing, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            future.set_exception(self._refusals.told(record, error))
            return
        partition = self._places[record.topic, message.partition() or 0]
        payload = KafkaPayload(record.key, record.value, record.headers)
        future.set_result(BrokerValue(payload, partition, message.offset() or 0, as_datetime(*message.timestamp())))

    def _is_busy(self) -> bool:
        return bool(self._refused or self._suspects or self._alone or len(self._handle))

    def _serve(self, seconds: float) -> None:
        if not self._closed:
            self.poll(seconds)

    def _check_open(self) -> None:
        if self._closed:
            msg = f"this producer of {self._name} was closed and cannot be used any more"
            raise BrokerError(msg)
