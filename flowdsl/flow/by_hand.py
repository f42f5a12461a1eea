"""What one does with a broker by hand: write, read, make topics, look at groups.

Written over the protocols of clients, so that every broker has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Self, TypeVar, overload

from msgspec.structs import replace

from flowdsl.brokers.naming import check_topic_name
from flowdsl.brokers.protocols import Client, Consumer, Producer, Start
from flowdsl.brokers.reading import read
from flowdsl.brokers.settings import checked_settings, topic_settings
from flowdsl.brokers.writing import Template, write
from flowdsl.clock import SYSTEM_CLOCK
from flowdsl.flow.arguments import checked_group, checked_start, checked_values, group_or_none, refuse_inherit
from flowdsl.interface.arguments import count as checked_count
from flowdsl.operators import outgoing
from flowdsl.operators.codecs import Decoder, Encoder, decoder_of, encoder_of
from flowdsl.operators.produce import Headers, Text
from flowdsl.types import Partition, Record

T = TypeVar("T")
Decodes = Decoder[T] | Callable[[bytes], T]
NO_SETTINGS: Mapping[str, object] = {}


class ByHand:
    """One broker, without flows."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def write(
        self,
        topic: str | Callable[[Any], str],
        values: Iterable[T],
        *,
        key: Text | Callable[[T], Text] = None,
        headers: Headers | Callable[[T], Headers] = None,
        timestamp: datetime | Callable[[T], datetime | None] | None = None,
        partition: int | Callable[[T], int] | None = None,
        encode: Encoder[T] | Callable[[T], bytes | str] | None = None,
    ) -> int:
        """Produce values and wait until all are acknowledged; returns how many. Raises if one was not: DeliveryFailed,
        or what says more, as NotAuthorized does. Some may have been written then; the error says how many were not.

        >>> from flowdsl import LocalBroker
        >>> LocalBroker().write("greetings", ["hello", "world"])
        2
        """
        refuse_inherit(key=key, headers=headers, timestamp=timestamp)
        template = Template(
            outgoing.topic(topic),
            outgoing.key(key),
            outgoing.headers(headers),
            outgoing.timestamp(timestamp),
            outgoing.partition(partition),
            None if encode is None else encoder_of(encode, "encode"),
        )
        given = checked_values(values)
        producer = self.producer()
        try:
            producer.expect(
                topic if isinstance(topic, str) else None, partition if isinstance(partition, int) else None
            )
            return write(producer, template, given, SYSTEM_CLOCK)
        finally:
            producer.close(0.0)

    @overload
    def read(
        self, topic: str, *, count: int | None = None, start: Start = "earliest", decode: None = None
    ) -> list[Record[bytes | None]]: ...
    @overload
    def read(
        self, topic: str, *, count: int | None = None, start: Start = "earliest", decode: Decodes[T]
    ) -> list[Record[T | None]]: ...
    def read(
        self, topic: str, *, count: int | None = None, start: Start = "earliest", decode: Decodes[Any] | None = None
    ) -> list[Record[Any]]:
        """What is in a topic now, up to its end or ``count``, in the order of partition and offset. Commits nothing.

        A null value is None, and not given to ``decode``. Raises TopicNotFound, and what ``decode`` raises.

        >>> from flowdsl import LocalBroker
        >>> broker = LocalBroker()
        >>> broker.write("greetings", ["hello"])
        1
        >>> [record.value for record in broker.read("greetings")]
        [b'hello']
        """
        decoder = None if decode is None else decoder_of(decode, "decode")
        limit = None if count is None else checked_count(count, "count")
        consumer = self.client.consumer(group_id=None, start=checked_start(start), on_gap="earliest")
        try:
            records = read(consumer, check_topic_name(topic), limit, SYSTEM_CLOCK)
        finally:
            consumer.close(1.0)
        if decoder is None:
            return records
        return [record if record.value is None else _decoded(record, decoder) for record in records]

    def consumer(
        self, *, group_id: str | None, start: Start = "earliest", settings: Mapping[str, object] = NO_SETTINGS
    ) -> Consumer:
        """What ``StreamProcessor`` reads from: it yields each record as a ``BrokerValue[KafkaPayload]``."""
        return self.client.consumer(
            group_id=group_or_none(group_id), start=checked_start(start), settings=checked_settings(settings)
        )

    def producer(self, *, settings: Mapping[str, object] = NO_SETTINGS) -> Producer:
        """What ``Produce`` sends with.

        >>> from flowdsl import LocalBroker, Topic
        >>> from flowdsl.strategies import KafkaPayload
        >>> LocalBroker().producer().produce(Topic("greetings"), KafkaPayload(None, b"hello")).result().offset
        0
        """
        return self.client.producer(settings=checked_settings(settings))

    # -- topics and groups ----------------------------------------------------------------------------------------

    def create_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        replication: int = 1,
        settings: Mapping[str, object] = NO_SETTINGS,
        exist_ok: bool = True,
    ) -> None:
        """Make a topic. One that exists is taken as it is, or is a BrokerError with ``exist_ok=False``.

        >>> from flowdsl import LocalBroker
        >>> broker = LocalBroker()
        >>> broker.create_topic("orders", partitions=3)
        >>> broker.topics()
        {'orders': 3}
        """
        self.client.create_topic(
            check_topic_name(name, "name"),
            partitions=checked_count(partitions, "partitions"),
            replication=checked_count(replication, "replication"),
            settings=topic_settings(settings),
            exist_ok=exist_ok,
        )

    def delete_topic(self, name: str) -> None:
        """Delete a topic with its records and the offsets of groups in it. Raises TopicNotFound."""
        self.client.delete_topic(check_topic_name(name, "name"))

    def topics(self) -> dict[str, int]:
        """The names of all topics with their number of partitions."""
        return self.client.topics()

    def committed(self, group_id: str) -> dict[Partition, int]:
        """The next offset to read of each partition; those without a committed offset are absent."""
        return self.client.committed(checked_group(group_id))

    def lag(self, group_id: str) -> dict[Partition, int]:
        """How many records are still to be read of each partition with a committed offset.

        >>> from flowdsl import LocalBroker, take, to_list
        >>> broker = LocalBroker()
        >>> broker.write("greetings", ["hello", "world", "!"])
        3
        >>> (broker.source("greetings", group_id="readers") | take(1) | to_list()).run()
        [b'hello']
        >>> broker.lag("readers")
        {Partition(topic=Topic(name='greetings'), index=0): 2}
        """
        return self.client.lag(checked_group(group_id))

    def close(self) -> None:
        """Free what is held. Using the broker afterwards is an error."""
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _decoded(record: Record[Any], decoder: Callable[[bytes], Any]) -> Record[Any]:
    try:
        value = decoder(record.value)
    except Exception as error:
        error.add_note(f"decode was given the value of {record.topic}[{record.partition}] offset {record.offset}.")
        raise
    return replace(record, value=value)
