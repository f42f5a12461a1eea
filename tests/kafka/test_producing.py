"""Records that a flow sends to a real Kafka: what they carry, which one was refused, and what happens when the queue is full."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import KafkaError

from flowdsl import JSON, Kafka, Partition, StepFailed, Topic, TopicNotFound, every, filter_, from_iterable, map_
from flowdsl.brokers.protocols import Delivery, Outgoing
from tests.kafka.helpers import NOON, add, fill, wait_for

pytestmark = pytest.mark.slow
FAR = datetime.now(UTC) + timedelta(days=400)
"""Refused by brokers, which take nothing from later than an hour ahead; its whole batch is refused with it."""


def at(topic: str) -> Partition:
    return Partition(Topic(topic), 0)


def test_key_headers_timestamp_and_null_are_inherited(kafka: Kafka, t: str, g: str) -> None:
    kafka.create_topic(t)
    kafka.create_topic(f"{t}-out", partitions=3)
    headers = [("trace", b"1"), ("empty", None)]
    kafka.write(t, ["v", None], key="customer-1", headers=headers, timestamp=NOON)
    flow = kafka.source(t, group_id=g, tombstones="keep") | filter_(lambda _: True) | kafka.sink(f"{t}-out")
    flow.run(until="end", timeout=120.0)
    records = kafka.read(f"{t}-out")
    assert [record.value for record in records] == [b"v", None]
    for record in records:
        assert (record.key, record.headers, record.timestamp) == (b"customer-1", tuple(headers), NOON)


def test_each_record_goes_where_it_says(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 10)
    for parity in (0, 1):
        kafka.create_topic(f"{t}-{parity}")
    numbers = kafka.source(t, group_id=g) | map_(int)
    flow = numbers | kafka.sink(lambda n: f"{t}-{n % 2}", key=str, headers=lambda n: [("n", b"%d" % n)], encode=JSON)
    flow.run(until="end", timeout=120.0)
    assert [record.value for record in kafka.read(f"{t}-1")] == [b"1", b"3", b"5", b"7", b"9"]
    assert [record.key for record in kafka.read(f"{t}-0")] == [b"0", b"2", b"4", b"6", b"8"]


def when(number: int) -> datetime:
    return FAR if number == 137 else NOON


def test_record_that_spoils_its_batch_is_named(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 300)
    kafka.create_topic(f"{t}-out")
    flow = kafka.source(t, group_id=g) | map_(int) | kafka.sink(f"{t}-out", timestamp=when, encode=str)
    with pytest.raises(StepFailed) as info:
        flow.run(until="end", timeout=120.0)
    assert (info.value.offset, info.value.count) == (137, 1)
    assert kafka.committed(g) == {at(t): 137}
    sent = {int(record.value or b"-1") for record in kafka.read(f"{t}-out")}
    assert sent >= set(range(137))
    assert 137 not in sent


def test_record_that_spoils_its_batch_is_skipped_alone(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 300)
    kafka.create_topic(f"{t}-out")
    flow = kafka.source(t, group_id=g) | map_(int) | kafka.sink(f"{t}-out", timestamp=when, encode=str, on_error="skip")
    stats = flow.run(until="end", timeout=120.0)
    assert stats.failed == 1
    assert kafka.committed(g) == {at(t): 300}
    sent = {int(record.value or b"-1") for record in kafka.read(f"{t}-out")}
    assert sent == set(range(300)) - {137}


def test_record_that_spoils_its_batch_is_told_from_others_with_the_same_value(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 300)
    kafka.create_topic(f"{t}-out")
    same = kafka.sink(
        f"{t}-out", timestamp=when, headers=lambda n: [("n", b"%d" % n)], encode=lambda _: b"same", on_error="skip"
    )
    stats = (kafka.source(t, group_id=g) | map_(int) | same).run(until="end", timeout=120.0)
    assert stats.failed == 1
    assert kafka.committed(g) == {at(t): 300}
    sent = {int(record.headers[0][1] or b"-1") for record in kafka.read(f"{t}-out")}
    assert sent == set(range(300)) - {137}


def test_record_that_is_too_large_is_named(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 20)
    kafka.create_topic(f"{t}-out", settings={"max.message.bytes": "10000"})
    flow = kafka.source(t, group_id=g) | map_(lambda value: b"x" * (20_000 if value == b"13" else 10))
    with pytest.raises(StepFailed) as info:
        (flow | kafka.sink(f"{t}-out")).run(until="end", timeout=120.0)
    assert (info.value.offset, info.value.value) == (13, b"13")
    assert kafka.committed(g) == {at(t): 13}


def test_topic_that_is_deleted_is_not_the_fault_of_its_records(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 10)
    kafka.create_topic(f"{t}-out")
    flow = kafka.source(t, group_id=g) | kafka.sink(f"{t}-out", on_error="skip")
    handle = flow.start(commit=every(seconds=0.2))
    wait_for(lambda: kafka.committed(g) == {at(t): 10})
    kafka.delete_topic(f"{t}-out")
    add(kafka, t, range(10, 20))
    with pytest.raises(TopicNotFound, match=f"{t}-out"):
        handle.result(timeout=120.0)
    assert kafka.committed(g) == {at(t): 10}


def test_record_that_was_dropped_with_its_partition_is_written_where_the_topic_is_there(kafka: Kafka, t: str) -> None:
    """As librdkafka reports what an answer puts back behind a metadata that the partition was missing in."""
    kafka.create_topic(t)
    kafka.create_topic(f"{t}-gone")
    producer: Any = kafka.producer()
    records = [Outgoing(topic, None, None, b"value", (), None) for topic in (t, f"{t}-gone")]
    kafka.delete_topic(f"{t}-gone")
    delivery = Delivery()
    delivery.waiting = len(records)
    for index, record in enumerate(records):
        producer.refused(delivery, index, record, KafkaError(KafkaError._DESTROY))

    def is_answered() -> bool:
        producer.poll(0.1)
        return not delivery.waiting

    wait_for(is_answered)
    producer.close(120.0)
    assert {index: type(error) for index, error in delivery.failed.items()} == {1: TopicNotFound}
    assert [record.value for record in kafka.read(t)] == [b"value"]


def test_queue_that_is_full_holds_records_back(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 5000)
    kafka.create_topic(f"{t}-out")
    small = {"queue.buffering.max.messages": 50}
    stats = (kafka.source(t, group_id=g) | kafka.sink(f"{t}-out", settings=small)).run(until="end", timeout=150.0)
    assert stats.delivered == 5000
    assert [record.value for record in kafka.read(f"{t}-out")] == [str(number).encode() for number in range(5000)]
    assert kafka.committed(g) == {at(t): 5000}


def test_what_is_queued_is_thrown_away_when_the_work_is_given_up(kafka: Kafka, t: str) -> None:
    kafka.create_topic(t)
    producer = kafka.producer(settings={"linger.ms": 60_000})
    records = [Outgoing(t, 0, None, b"%d" % number, (), None) for number in range(100)]
    delivery = Delivery()
    assert producer.send(records, delivery) == 100
    producer.purge()
    producer.close(120.0)
    assert kafka.read(t) == []


def test_record_that_is_larger_than_the_whole_queue_is_refused(kafka: Kafka, t: str) -> None:
    """It would wait for room for ever."""
    kafka.create_topic(t)
    values = [b"a", b"x" * 5000, b"b"]
    small = {"queue.buffering.max.kbytes": 1}
    with pytest.raises(StepFailed, match=r"5000 bytes.*larger than the whole queue.*queue\.buffering\.max\.kbytes"):
        (from_iterable(values) | kafka.sink(t, settings=small)).run(timeout=60.0)
    stats = (from_iterable(values) | kafka.sink(t, settings=small, on_error="skip")).run(timeout=60.0)
    assert (stats.delivered, stats.failed) == (2, 1)
