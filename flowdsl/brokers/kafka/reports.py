"""How reports of librdkafka find the records that they are about, and those who wait for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count, repeat

from confluent_kafka import KafkaError, Message
from msgspec import Struct

from flowdsl.brokers.columns import Columns
from flowdsl.brokers.protocols import Delivery, Outgoing
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.types import BrokerValue, KafkaPayload

POLL = 0.05

Refused = Callable[[Delivery, int, Outgoing, KafkaError], None]
Report = Callable[[KafkaError | None, Message], None]


class Reports:
    """Of records that were sent together. ``refused`` is called for each that was not taken.

    A report that is bad holds topic, key and value of its record, and no headers. Where these tell the records apart, or
    there is nothing besides, one function is the report of all, and finds the one by what it holds: of two that are the
    same either may be meant. Other records have a report of their own, which costs as much as producing them.
    """

    __slots__ = ("_left", "_refused", "delivery", "first", "records")

    def __init__(self, refused: Refused, records: Sequence[Outgoing], delivery: Delivery, first: int) -> None:
        self._refused, self.records, self.delivery, self.first = refused, records, delivery, first
        self._left: dict[tuple[str | None, bytes | None, bytes | None], deque[int]] | None = None

    def each(self) -> Iterator[Report]:
        """The reports of records that may have more than key and value, in turn."""
        records = self.records
        values = records.values if isinstance(records, Columns) else [record.value for record in records]
        different = set(values)
        if len(different) == len(values) and None not in different:
            return repeat(self.any)
        return map(partial, repeat(self.own), count())

    def any(self, error: KafkaError | None, message: Message) -> None:
        """The report on one of the records."""
        if error is None:
            self.delivery.waiting -= 1
        else:
            self.own(self._find(message), error, message)

    def own(self, index: int, error: KafkaError | None, _: Message) -> None:
        """The report on the record with that index."""
        if error is None:
            self.delivery.waiting -= 1
        else:
            self._refused(self.delivery, self.first + index, self.records[index], error)

    def _find(self, message: Message) -> int:
        if self._left is None:
            self._left = {}
            for index, record in enumerate(self.records):
                self._left.setdefault((record.topic, record.key, record.value), deque()).append(index)
        return self._left[message.topic(), message.key(), message.value()].popleft()


class Suspect(Struct, frozen=True):
    """A record that was refused together with others."""

    delivery: Delivery
    index: int
    record: Outgoing


class Answer(Future[BrokerValue[KafkaPayload]]):
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
