"""One read: what librdkafka has, without what changed hands meanwhile, and where the consumer stands after it.

Where only values are wanted a read takes a few messages at a time, and lets go of them before it takes more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from confluent_kafka import KafkaException, Message

from flowdsl.brokers.kafka.alone import Alone
from flowdsl.brokers.kafka.assignment import Assignment
from flowdsl.brokers.kafka.errors import error_of, sorted_error
from flowdsl.brokers.kafka.group import Group
from flowdsl.brokers.kafka.records import KafkaRecords
from flowdsl.brokers.kafka.supply import Supply
from flowdsl.brokers.kafka.trouble import Trouble
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.protocols import Topics
from flowdsl.errors import BrokerError
from flowdsl.types import Partition

AT_ONCE = 250
"""Messages that are alive at a time, where only their values are wanted: the collector of garbage looks at what is alive
each time that 700 objects were made, and the memory of a few is still in the processor's cache when the next ones come.
"""


class Reading:
    """Reads for one consumer, as a member of a group or alone."""

    def __init__(
        self,
        name: str,
        supply: Supply,
        assignment: Assignment,
        trouble: Trouble,
        weather: Weather,
        *,
        values_only: bool,
    ) -> None:
        self._name, self._supply, self._assignment = name, supply, assignment
        self._trouble, self._weather, self._values_only = trouble, weather, values_only

    def read(self, membership: Group | Alone, topics: Topics, limit: int, timeout: float) -> KafkaRecords:
        limit = min(limit, self._supply.most)
        asked = min(limit, AT_ONCE) if self._values_only else limit
        records = KafkaRecords(values_only=self._values_only)
        self._begin(records, membership, topics, asked, timeout)
        touched: Collection[Partition] = ()
        while not touched and len(records) == asked < limit and records.positions:
            more = min(AT_ONCE, limit - asked)
            asked += more
            touched = self._go_on(records, membership, topics, more)
        self._trouble.raise_stored(membership)
        if len(records):
            self._weather.came_back()
        return records.without(touched) if touched else records

    def _begin(
        self, records: KafkaRecords, membership: Group | Alone, topics: Topics, limit: int, timeout: float
    ) -> None:
        try:
            messages = self._supply.take(limit, timeout)
        except KafkaException as failure:
            raise self._fatal(failure) from None
        self._trouble.raise_stored(membership)
        positions: Mapping[Partition, int] = {}
        if self._assignment.moved or membership.waiting:
            messages = self._settled(messages, {*self._assignment.moved, *membership.waiting})
        elif self._supply.is_drained:
            positions = self._assignment.progress()
        self._add(records, messages, positions, topics)

    def _go_on(
        self, records: KafkaRecords, membership: Group | Alone, topics: Topics, limit: int
    ) -> Collection[Partition]:
        """Add what else is there; or return the partitions that changed hands. What was read then is put aside: there are
        no positions behind it, and there are some behind what was read before.
        """
        try:
            messages = self._supply.more(limit)
        except KafkaException as failure:
            raise self._fatal(failure) from None
        if self._assignment.moved or membership.waiting:
            touched = {*self._assignment.moved, *membership.waiting}
            self._supply.put_aside(self._settled(messages, touched))
            return touched
        self._add(records, messages, self._assignment.progress(), topics)
        return ()

    def _fatal(self, failure: KafkaException) -> BrokerError:
        """Errors of that kind are raised by librdkafka, instead of told."""
        return sorted_error(error_of(failure), "reading", self._name)

    def _add(
        self, records: KafkaRecords, messages: list[Message], positions: Mapping[Partition, int], topics: Topics
    ) -> None:
        """Positions were noted before anything is moved because of an error."""
        if any(map(Message.error, messages)):
            for message in messages:
                if message.error() is not None:
                    self._trouble.handle(message, topics)
            messages = [message for message in messages if message.error() is None]
        records.take(messages, positions, self._supply.places)

    def _settled(self, messages: list[Message], touched: Collection[Partition]) -> list[Message]:
        """Something changed hands during the read: what was read of it is dropped, and read again if it is ours.

        Errors stay: librdkafka tells them once only, and those about partitions that are not ours are passed over.
        """
        dropped = self._supply.drop(touched)
        stays: list[Message] = []
        for message in messages:
            partition = self._supply.partition_of(message)
            (dropped if partition in touched and message.error() is None else stays).append(message)
        positions = self._assignment.positions
        self._assignment.moved.clear()
        again = {self._supply.partition_of(message) for message in dropped}
        self._assignment.move({partition: positions[partition] for partition in again if partition in positions})
        return stays
