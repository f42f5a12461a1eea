"""Topics as they are in the field: transactions that were given up, gaps, two hundred partitions, large records."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from flowdsl import Kafka, Partition, StepFailed, Topic, every, sink, tap, to_list
from tests.kafka.helpers import NOON, fill, lines_until, program, transactions, wait_for
from tests.kafka.protocols import in_every_protocol, settings_of
from tests.kafka.server import unique

pytestmark = pytest.mark.slow


@in_every_protocol
def test_lag_reaches_nothing_behind_a_transaction_that_was_given_up(
    kafka: Kafka, kafka_address: str, t: str, g: str, protocol: str
) -> None:
    kafka.create_topic(t)
    transactions(
        kafka_address, t, (range(5), True), (range(5, 12), False), (range(12, 15), True), (range(15, 20), False)
    )
    values: list[int] = []
    flow = kafka.source(t, group_id=g, decode=int, settings=settings_of(protocol)) | sink(values.append)
    with flow.start(commit=every(seconds=0.2)) as handle:
        wait_for(lambda: len(values) == 8 and kafka.lag(g) == {Partition(Topic(t), 0): 0})
        handle.stop()
    assert values == [*range(5), *range(12, 15)]
    assert kafka.committed(g) == {Partition(Topic(t), 0): 24}, "20 records and 4 ends of transactions"


@in_every_protocol
def test_bounded_run_ends_where_the_last_transaction_was_given_up(
    kafka: Kafka, kafka_address: str, t: str, g: str, protocol: str
) -> None:
    kafka.create_topic(t)
    transactions(kafka_address, t, (range(5), True), (range(5, 12), False))
    flow = kafka.source(t, group_id=g, decode=int, settings=settings_of(protocol)) | to_list()
    assert flow.run(until="end", timeout=120.0) == list(range(5))
    assert [record.offset for record in kafka.read(t)] == list(range(5))


@pytest.mark.parametrize(("isolation", "seen"), [("read_committed", 5), ("read_uncommitted", 9)])
def test_end_is_that_of_the_isolation_level_while_a_transaction_is_open(
    kafka: Kafka, kafka_address: str, t: str, g: str, isolation: str, seen: int
) -> None:
    kafka.create_topic(t)
    transactions(kafka_address, t, (range(5), True))
    producer = Producer({"bootstrap.servers": kafka_address, "transactional.id": unique("x")})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(5, 9):
        producer.produce(t, str(number).encode(), partition=0)
    producer.flush(30)
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    bounds: list[tuple[Any, str]] = [("end", g), (soon, f"{g}-soon")]
    for until, group in bounds:
        flow = kafka.source(t, group_id=group, decode=int, settings={"isolation.level": isolation}) | to_list()
        assert flow.run(until=until, timeout=120.0) == list(range(seen))
    producer.abort_transaction(30)
    flow = kafka.source(t, group_id=g, decode=int) | to_list()

    def has_passed_it_over() -> bool:
        assert flow.run(until="end", timeout=120.0) == []
        return kafka.lag(g) == {Partition(Topic(t), 0): 0}  # the broker writes down what was given up when it can

    wait_for(has_passed_it_over)


def test_commit_in_a_gap_loses_nothing(kafka: Kafka, kafka_address: str, t: str, g: str) -> None:
    kafka.create_topic(t)
    transactions(kafka_address, t, (range(5), True), (range(5, 12), False), (range(12, 15), True))
    flow = kafka.source(t, group_id=g, decode=int) | to_list()
    assert flow.run(count=5, timeout=120.0) == list(range(5))
    assert flow.run(until="end", timeout=120.0) == list(range(12, 15))
    assert flow.run(until="end", timeout=120.0) == []


@in_every_protocol
def test_bounded_run_over_an_empty_topic_ends_at_once(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    kafka.create_topic(t, partitions=2)
    flow = kafka.source(t, group_id=g, settings=settings_of(protocol)) | to_list()
    assert flow.run(until="end", timeout=120.0) == []


def test_bounded_run_ends_at_a_time(kafka: Kafka, t: str, g: str) -> None:
    kafka.create_topic(t)
    kafka.write(t, map(str, range(10)), timestamp=lambda value: NOON + timedelta(minutes=int(value)))
    flow = kafka.source(t, group_id=g, decode=int) | to_list()
    assert flow.run(until=NOON + timedelta(minutes=4), timeout=120.0) == [0, 1, 2, 3]
    assert flow.run(until="end", timeout=120.0) == [4, 5, 6, 7, 8, 9]


def test_commits_hold_the_epoch_of_the_leader(kafka: Kafka, kafka_address: str, t: str, g: str) -> None:
    fill(kafka, t, 10)
    (kafka.source(t, group_id=g) | sink(lambda _: None)).run(until="end", timeout=120.0)
    asker = Consumer({"bootstrap.servers": kafka_address, "group.id": g})
    (answer,) = asker.committed([TopicPartition(t, 0)], timeout=30)
    asker.assign([TopicPartition(t, 0, 9)])
    (last,) = asker.consume(1, 60.0)
    asker.close()
    assert last.leader_epoch() is not None
    assert (answer.offset, answer.leader_epoch) == (10, last.leader_epoch())


@in_every_protocol
def test_bounded_run_ends_where_compaction_left_one_record_and_a_transaction_was_given_up(
    kafka: Kafka, kafka_address: str, t: str, g: str, protocol: str
) -> None:
    policy = {"cleanup.policy": "compact", "segment.ms": "50", "min.cleanable.dirty.ratio": "0.0"}
    kafka.create_topic(t, settings=policy)
    kafka.write(t, map(str, range(20)), key="the same")
    time.sleep(0.1)  # what comes now goes into another segment, and the first one may be compacted
    transactions(kafka_address, t, (range(20, 25), False), key="the same")
    wait_for(lambda: [record.offset for record in kafka.read(t)] == [19])
    flow = kafka.source(t, group_id=g, decode=int, settings=settings_of(protocol)) | to_list()
    assert flow.run(until="end", timeout=120.0) == [19]
    assert kafka.committed(g) == {Partition(Topic(t), 0): 26}, "25 records and the end of a transaction"
    assert kafka.lag(g) == {Partition(Topic(t), 0): 0}
    assert flow.run(until="end", timeout=120.0) == []


def test_error_names_the_offset_among_partitions_with_gaps(kafka: Kafka, kafka_address: str, t: str, g: str) -> None:
    kafka.create_topic(t, partitions=2)
    transactions(kafka_address, t, *((range(first, first + 3), first % 2 == 0) for first in range(0, 60, 3)))
    kafka.write(t, map(str, range(100, 130)), partition=1)
    places = {int(record.value or b""): (record.partition, record.offset) for record in kafka.read(t)}
    for broken in (3 * 16 + 2, 124):

        def check(value: int, broken: int = broken) -> None:
            if value == broken:
                raise ValueError(value)

        flow = kafka.source(t, decode=int) | tap(check) | sink(lambda _: None)
        with pytest.raises(StepFailed) as failed:
            flow.run(until="end", timeout=120.0)
        assert (failed.value.partition, failed.value.offset) == places[broken]


@in_every_protocol
def test_topics_of_different_sizes_are_read_together(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    names = [f"{t}-{size}" for size in (1, 3, 7)]
    for name, size in zip(names, (1, 3, 7), strict=True):
        fill(kafka, name, 30, partitions=size)
    flow = kafka.source(names, group_id=g, decode=int, settings=settings_of(protocol)) | to_list()
    assert sorted(flow.run(until="end", timeout=120.0)) == sorted([*range(30)] * 3)
    assert (len(kafka.committed(g)), sum(kafka.committed(g).values()), sum(kafka.lag(g).values())) == (11, 90, 0)


@in_every_protocol
def test_two_hundred_partitions_are_shared_and_read_to_the_end(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    fill(kafka, t, 2000, partitions=200)
    values: list[int] = []
    flow = kafka.source(t, group_id=g, decode=int, settings=settings_of(protocol)) | sink(values.append)
    with flow.start(commit=every(seconds=0.5)) as first, flow.start(commit=every(seconds=0.5)) as second:
        wait_for(lambda: set(values) == set(range(2000)))
        wait_for(lambda: len(kafka.committed(g)) == 200 and sum(kafka.lag(g).values()) == 0)
        for handle in (first, second):
            handle.stop(timeout=120)


LARGE = """
import resource, sys, time
from flowdsl import *

def megabytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

address, topic, group = sys.argv[1:]
sizes, most = [], [0.0]
def slow(value):
    sizes.append(len(value))
    most[0] = max(most[0], megabytes())
    time.sleep(0.01)
before = megabytes()
(Kafka(address).source(topic, group_id=group) | sink(slow)).run(until="end", timeout=150.0)
print(len(sizes), sum(sizes), most[0] - before)
print("end")
"""


def test_memory_is_bounded_when_each_record_has_a_megabyte(kafka: Kafka, kafka_address: str, t: str, g: str) -> None:
    kafka.create_topic(t, settings={"max.message.bytes": "2000000"})
    records, size = 400, 1_000_000
    with Kafka(kafka_address, {"message.max.bytes": 2_000_000}) as wide:
        for first in range(0, records, 50):
            wide.write(t, [bytes(size - first)[: size - first] for _ in range(50)])
    with program(LARGE, kafka_address, t, g) as process:
        told = lines_until(process, "end")[0].split()
    assert int(told[0]) == records
    assert float(told[2]) < 200.0, "megabytes on top, of the 400 that the topic holds"
