"""What Kafka says of a record: few of its errors are about that record, and only those may be skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from flowdsl import BrokerUnreachable, DeliveryFailed, Kafka, NotAuthorized, TopicNotFound
from flowdsl.brokers.kafka.producer import KafkaProducer
from flowdsl.brokers.kafka.refusals import Refusals
from flowdsl.brokers.protocols import Delivery, Outgoing

RECORD = Outgoing("out", None, None, b"value", (), None)


@pytest.fixture
def producer() -> Iterator[KafkaProducer]:
    with Kafka("127.0.0.1:1") as nobody:
        found = nobody.client.producer()
        assert isinstance(found, KafkaProducer)
        yield found
        found.close(0.0)


def told(producer: KafkaProducer, code: int) -> BaseException:
    """What is said of the record where the broker answered this."""
    delivery = Delivery()
    delivery.waiting = 1
    producer.refused(delivery, 0, RECORD, KafkaError(code))
    return delivery.failed[0]


@pytest.mark.parametrize(
    "name",
    [
        "UNKNOWN",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "THROTTLING_QUOTA_EXCEEDED",
        "INVALID_PRODUCER_EPOCH",
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        "UNSUPPORTED_FOR_MESSAGE_FORMAT",
        "NOT_CONTROLLER",
        "UNSUPPORTED_VERSION",
        "_PURGE_QUEUE",
        "_PURGE_INFLIGHT",
        "_FATAL",
        "_STATE",
    ],
)
def test_error_of_the_broker_or_of_the_producer_is_not_that_of_a_record(producer: KafkaProducer, name: str) -> None:
    assert not isinstance(told(producer, getattr(KafkaError, name)), DeliveryFailed)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("_MSG_TIMED_OUT", BrokerUnreachable),
        ("TOPIC_AUTHORIZATION_FAILED", NotAuthorized),
        ("UNKNOWN_TOPIC_OR_PART", TopicNotFound),
        ("_INVALID_ARG", DeliveryFailed),
    ],
)
def test_error_is_told_by_its_kind(producer: KafkaProducer, name: str, error: type[Exception]) -> None:
    assert type(told(producer, getattr(KafkaError, name))) is error


def test_record_that_was_dropped_with_its_partition_is_that_of_a_topic_which_is_gone() -> None:
    error = Refusals("a Kafka", lambda _: 1).told(RECORD, KafkaError(KafkaError._DESTROY))
    assert type(error) is TopicNotFound
    assert str(error).startswith("writing to 'out': a Kafka does not have it, or one of its partitions, any more")
