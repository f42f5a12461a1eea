"""Why a record was not taken: because of what it is, because of what was beside it in its batch, or because of the broker."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError

from flowdsl.brokers.kafka.errors import sorted_error
from flowdsl.brokers.naming import without_partition
from flowdsl.brokers.protocols import Outgoing
from flowdsl.errors import BrokerError, DeliveryFailed, TopicNotFound

CAUGHT = frozenset(
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
DOUBTFUL = CAUGHT | {KafkaError._DESTROY}  # noqa: SLF001  # librdkafka's own errors are named so
"""Told of more records than it is true of. Librdkafka also drops a partition that is not there, with all that is queued for it."""
_OF_A_RECORD = (CAUGHT - {KafkaError.UNSUPPORTED_COMPRESSION_TYPE}) | {KafkaError._INVALID_ARG}  # noqa: SLF001  # librdkafka's own errors are named so
"""Anything else says something about the broker, or about this producer."""


class Refusals:
    """``name``: how the broker is called. ``partitions_of``: how many a topic has; raises TopicNotFound and the like."""

    def __init__(self, name: str, partitions_of: Callable[[str], int]) -> None:
        self._name, self._partitions_of = name, partitions_of

    def expect(self, topic: str, partition: int | None) -> None:
        """Raises TopicNotFound and the like, and DeliveryFailed for a partition that is not there."""
        count = self._partitions_of(topic)
        if partition is not None and 0 < count <= partition:  # none while its leaders are chosen
            raise without_partition(topic, partition, count)

    def told(self, record: Outgoing, error: KafkaError) -> BrokerError:
        """What librdkafka says of this record, as users hear it."""
        doing = f"writing to {record.topic!r}"
        if record.partition is not None and error.code() == KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001  # librdkafka's own errors are named so
            return self._without(record.topic, record.partition)
        if error.code() == KafkaError._DESTROY:  # noqa: SLF001  # see DOUBTFUL
            return TopicNotFound(
                f"{doing}: {self._name} does not have it, or one of its partitions, any more: {error.str()}"
            )
        if error.fatal() or error.code() not in _OF_A_RECORD:
            return sorted_error(error, doing, self._name)
        return DeliveryFailed(f"{doing}: {self._name} did not take the record: {error.str()} ({error.name()})")

    def larger_than_queue(self, record: Outgoing) -> DeliveryFailed:
        """The error for a record that finds no room though nothing else is there."""
        size = len(record.key or b"") + len(record.value or b"")
        return DeliveryFailed(
            f"a record of {size} bytes for {record.topic!r} is larger than the whole queue: raise queue.buffering.max.kbytes"
        )

    def _without(self, topic: str, partition: int) -> BrokerError:
        try:
            return without_partition(topic, partition, self._partitions_of(topic))
        except BrokerError as error:
            return type(error)(f"topic {topic!r} has no partition {partition}: {error}")
