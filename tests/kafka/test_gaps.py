"""Records that are gone, and logs that are not the ones that were read: each is an error, or told and gone on behind it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from threading import Event, Timer

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from flowdsl import Kafka, OffsetOutOfRange, Partition, Topic, batch, every, sink, to_list
from tests.kafka.helpers import PATIENCE, add, answers, fill, transactions, wait_for
from tests.kafka.protocols import PROTOCOLS, in_every_protocol, settings_of
from tests.kafka.server import KafkaServer

pytestmark = pytest.mark.slow


def delete_records(address: str, topic: str, below: int) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    for answer in admin.delete_records([TopicPartition(topic, 0, below)]).values():
        answer.result(30)


def test_records_that_are_gone_unread_are_an_error_or_passed_over(
    kafka: Kafka, kafka_address: str, t: str, g: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(kafka, t, 10)
    assert (kafka.source(t, group_id=g, decode=int) | to_list()).run(count=3, timeout=120.0) == [0, 1, 2]
    delete_records(kafka_address, t, 6)
    with pytest.raises(OffsetOutOfRange, match=t):
        (kafka.source(t, group_id=g, decode=int) | to_list()).run(until="end", timeout=120.0)
    assert kafka.committed(g) == {Partition(Topic(t), 0): 3}
    flow = kafka.source(t, group_id=g, decode=int, on_gap="earliest") | to_list()
    assert flow.run(until="end", timeout=120.0) == [6, 7, 8, 9]
    assert re.search(r"\b3\b.*gone|gone.*\b3\b", caplog.text)


@in_every_protocol
def test_bounded_run_ends_where_the_last_records_were_deleted(
    kafka: Kafka, kafka_address: str, t: str, g: str, protocol: str
) -> None:
    fill(kafka, t, 10)
    flow = kafka.source(t, group_id=g, decode=int, on_gap="earliest", settings=settings_of(protocol)) | to_list()
    assert flow.run(count=3, timeout=120.0) == [0, 1, 2]
    delete_records(kafka_address, t, 10)
    assert flow.run(until="end", timeout=120.0) == []
    assert kafka.lag(g) == {Partition(Topic(t), 0): 0}
    assert kafka.read(t) == []


def commit(address: str, group: str, *offsets: TopicPartition) -> None:
    """As a member of the group did, before the topic was made anew."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": group})
    consumer.commit(offsets=list(offsets), asynchronous=False)
    consumer.close()


def test_log_that_ends_before_what_is_committed_is_an_error(kafka: Kafka, kafka_address: str, t: str, g: str) -> None:
    fill(kafka, t, 30)
    commit(kafka_address, g, TopicPartition(t, 0, 100))
    with pytest.raises(OffsetOutOfRange, match=r"ends at offset 30 and was to be read from 100"):
        (kafka.source(t, group_id=g, decode=int) | to_list()).run(until="end", timeout=120.0)
    assert kafka.committed(g) == {Partition(Topic(t), 0): 100}


@in_every_protocol
def test_log_that_ends_before_what_is_committed_is_begun_again_on_request(
    kafka: Kafka, kafka_address: str, t: str, g: str, protocol: str
) -> None:
    fill(kafka, t, 60, partitions=2)
    commit(kafka_address, g, TopicPartition(t, 0, 100), TopicPartition(t, 1, 10))
    flow = kafka.source(t, group_id=g, decode=int, on_gap="earliest", settings=settings_of(protocol))
    values = (flow | to_list()).run(until="end", timeout=120.0)
    assert sorted(values) == sorted([*range(0, 60, 2), *range(21, 60, 2)])
    assert kafka.committed(g) == {Partition(Topic(t), 0): 30, Partition(Topic(t), 1): 30}


class WhenAssigned(logging.Handler):
    """Acts once, before anything of the next assignment was read."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__(logging.INFO)
        self._acts = [act]

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("assigned: t") and self._acts:
            self._acts.pop()()


@in_every_protocol
def test_bounded_run_waits_to_be_told_that_the_log_ends_before_what_is_committed(
    own_kafka: KafkaServer, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker hangs before it can say so, and there is nothing else to read."""
    caplog.set_level(logging.INFO, "flowdsl")
    with Kafka(own_kafka.address) as kafka:
        fill(kafka, "t", 60, partitions=2)
        commit(own_kafka.address, "g", TopicPartition("t", 0, 100), TopicPartition("t", 1, 30))

        def hang() -> None:
            own_kafka.pause()
            Timer(1.5, own_kafka.resume).start()

        hangs = WhenAssigned(hang)
        logging.getLogger("flowdsl").addHandler(hangs)
        try:
            source = kafka.source("t", group_id="g", decode=int, on_gap="earliest", settings=settings_of(protocol))
            assert (source | to_list()).run(until="end", timeout=120.0) == list(range(0, 60, 2))
        finally:
            logging.getLogger("flowdsl").removeHandler(hangs)
        assert kafka.committed("g") == {Partition(Topic("t"), 0): 30, Partition(Topic("t"), 1): 30}


def test_flow_goes_on_in_a_log_that_it_has_begun_again(kafka: Kafka, kafka_address: str, t: str, g: str) -> None:
    """With what it has under way in another partition, and with commits that go down once, and up from there."""
    fill(kafka, t, 60, partitions=2)
    commit(kafka_address, g, TopicPartition(t, 0, 100), TopicPartition(t, 1, 10))
    values: list[int] = []
    source = kafka.source(t, group_id=g, decode=int, on_gap="earliest")
    with (source | batch(7, within=1.0) | sink(values.extend)).start(commit=every(seconds=0.2)) as handle:
        first, second = Partition(Topic(t), 0), Partition(Topic(t), 1)
        wait_for(lambda: kafka.committed(g) == {first: 30, second: 30})
        add(kafka, t, range(60, 80), partitions=2)
        wait_for(lambda: kafka.committed(g) == {first: 40, second: 40})
        handle.stop()
    assert sorted(set(values)) == sorted([*range(0, 80, 2), *range(21, 80, 2)])
    assert handle.result(timeout=60.0).committed == {first: 40, second: 40}


def test_bounded_run_ends_where_a_log_ends_that_is_cut_meanwhile(own_kafka: KafkaServer) -> None:
    begun, go_on = Event(), Event()
    values: list[int] = []

    def see(value: int) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        values.append(value)

    little_ahead = {"queued.min.messages": 1, "max.partition.fetch.bytes": 1000}
    with Kafka(own_kafka.address) as kafka:
        kafka.create_topic("t")
        for first in range(0, 2000, 100):
            add(kafka, "t", range(first, first + 100))
        source = kafka.source("t", group_id="g", decode=int, on_gap="earliest", settings=little_ahead)
        with (source | sink(see)).start(until="end", timeout=PATIENCE) as handle:
            assert begun.wait(PATIENCE)
            own_kafka.kill()
            own_kafka.lose("t")
            own_kafka.start()
            wait_for(lambda: answers(kafka, "t"))
            add(kafka, "t", range(5000, 5030))
            go_on.set()
            handle.result()
        assert values[-30:] == list(range(5000, 5030))
        assert values[:-30] == list(range(len(values) - 30))
        assert kafka.committed("g") == {Partition(Topic("t"), 0): 30}


def test_log_that_was_cut_and_grew_again_is_not_read_on_from_the_middle(
    own_kafka: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The epoch that was committed with the offset tells, and nothing else does."""
    with Kafka(own_kafka.address) as kafka:
        fill(kafka, "t", 100)
        for protocol, settings in PROTOCOLS.items():
            reader = kafka.source("t", group_id=protocol, decode=int, settings=settings) | to_list()
            assert reader.run(until="end", timeout=120.0) == list(range(100))
        own_kafka.kill()
        own_kafka.lose("t")
        own_kafka.start()
        wait_for(lambda: answers(kafka, "t"))
        add(kafka, "t", range(1000, 1150))
        for protocol, settings in PROTOCOLS.items():
            reader = kafka.source("t", group_id=protocol, decode=int, settings=settings) | to_list()
            with pytest.raises(OffsetOutOfRange, match=r"t\[0\] was cut below offset 100, .* and written anew"):
                reader.run(count=1, timeout=120.0)
            assert kafka.committed(protocol) == {Partition(Topic("t"), 0): 100}
            source = kafka.source("t", group_id=protocol, decode=int, on_gap="earliest", settings=settings)
            assert (source | to_list()).run(until="end", timeout=120.0) == list(range(1000, 1150))
            assert kafka.committed(protocol) == {Partition(Topic("t"), 0): 150}
    assert "t[0] was cut below offset 100" in caplog.text


def test_reader_without_a_group_begins_a_log_again_that_was_cut(own_kafka: KafkaServer) -> None:
    values: list[int] = []
    with Kafka(own_kafka.address) as kafka:
        fill(kafka, "t", 100)
        with (kafka.source("t", decode=int, on_gap="earliest") | sink(values.append)).start() as handle:
            wait_for(lambda: len(values) == 100)
            own_kafka.kill()
            own_kafka.lose("t")
            own_kafka.start()
            wait_for(lambda: answers(kafka, "t"))
            add(kafka, "t", range(1000, 1050))
            wait_for(lambda: set(values) >= {*range(100), *range(1000, 1050)})
            handle.stop()
    assert list(dict.fromkeys(values)) == [*range(100), *range(1000, 1050)]  # a gap that is told twice is read twice


def test_offset_behind_a_transaction_that_was_given_up_by_a_later_leader_is_no_gap(own_kafka: KafkaServer) -> None:
    with Kafka(own_kafka.address) as kafka:
        kafka.create_topic("t")
        transactions(own_kafka.address, "t", (range(5), True))
        reader = kafka.source("t", group_id="g", decode=int) | to_list()
        for expected in ([0, 1, 2, 3, 4], [], []):
            own_kafka.stop()
            own_kafka.start()  # with a new epoch each time
            wait_for(lambda: answers(kafka, "t"))
            transactions(own_kafka.address, "t", (range(5, 12), False))
            assert reader.run(until="end", timeout=120.0) == expected
            assert sum(kafka.lag("g").values()) == 0
