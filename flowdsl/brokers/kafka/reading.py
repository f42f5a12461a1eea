"""One read: what librdkafka has, without what changed hands meanwhile, and where the consumer stands after it.

Where only values are wanted a read takes a few messages at a time, and lets go of them before it takes more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from confluent_kafka import Message

from flowdsl.brokers.kafka.alone import Alone
from flowdsl.brokers.kafka.assignment import Assignment
from flowdsl.brokers.kafka.group import Group
from flowdsl.brokers.kafka.records import KafkaRecords
from flowdsl.brokers.kafka.supply import Supply
from flowdsl.brokers.kafka.trouble import Trouble
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.protocols import Topics
from flowdsl.types import Partition

AT_ONCE = 500
"""Messages that are alive at a time, where only their values are wanted: the collector of garbage looks at what is alive
each time that 700 objects were made, and the memory of a few is still in the processor's cache when the next ones come.
"""


class Reading:
    """Reads for one consumer, as a member of a group or alone."""

    def __init__(
        self,
        supply: Supply,
        assignment: Assignment,
        trouble: Trouble,
        weather: Weather,
        *,
        values_only: bool,
    ) -> None:
        self._supply, self._assignment = supply, assignment
        self._trouble, self._weather, self._values_only = trouble, weather, values_only

    def read(self, membership: Group | Alone, topics: Topics, limit: int, timeout: float) -> KafkaRecords:
        limit = min(limit, self._supply.most)
        piece = min(limit, AT_ONCE) if self._values_only else limit
        records, touched = KafkaRecords(values_only=self._values_only), set[Partition]()
        messages, passed = self._first(membership, piece, timeout)
        while True:
            if any(map(Message.error, messages)):
                messages = self._without_errors(messages, membership, topics)
            records.take(messages, passed, self._supply.places)
            limit -= piece
            if len(messages) < piece or limit <= 0 or not passed:
                break
            piece = min(piece, limit)
            del messages[:]  # their memory is for the next ones
            messages = self._supply.more(piece)
            if self._assignment.moved:  # so has whoever waits now and did not before
                # No positions are known behind these messages, and some are behind those before.
                touched = {*self._assignment.moved, *membership.waiting}
                self._supply.put_aside(self._settled(messages, touched))
                break
            passed = self._assignment.progress()
        self._trouble.raise_stored(membership)
        if len(records):
            self._weather.came_back()
        return records.without(touched) if touched else records

    def _first(
        self, membership: Group | Alone, limit: int, timeout: float
    ) -> tuple[list[Message], Mapping[Partition, range]]:
        """The first messages of a read, and the offsets that were passed with them, if that is known."""
        messages = self._supply.take(limit, timeout)
        self._trouble.raise_stored(membership)
        if self._assignment.moved or membership.waiting:
            return self._settled(messages, {*self._assignment.moved, *membership.waiting}), {}
        return messages, self._assignment.progress() if self._supply.is_drained else {}

    def _without_errors(self, messages: list[Message], membership: Group | Alone, topics: Topics) -> list[Message]:
        """Deal with errors that came in the place of records. Positions were noted before anything is moved because of one."""
        for message in messages:
            if message.error() is not None:
                self._trouble.handle(message, membership.unresolved, topics)
        return [message for message in messages if message.error() is None]

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
