"""What is wrong at the start is said within ten seconds; where a group begins is settled before its first record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flowdsl import (
    BrokerUnreachable,
    Kafka,
    Partition,
    StepFailed,
    Topic,
    TopicNotFound,
    every,
    from_iterable,
    map_,
    sink,
    to_list,
)
from tests.kafka.helpers import add, fill, lines_until, program, wait_for
from tests.kafka.protocols import in_every_protocol, settings_of
from tests.kafka.server import port_of, reserved

pytestmark = pytest.mark.slow
SOON = 10.0 + 20.0
"""The seconds that are promised, and twice as many for a machine that is busy."""


@contextmanager
def soon() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


WAYS: dict[str, Callable[[Kafka], Any]] = {
    "run": lambda kafka: (kafka.source("t", group_id="g") | to_list()).run(),
    "run without a group": lambda kafka: (kafka.source("t") | to_list()).run(until="end"),
    "start": lambda kafka: (kafka.source("t", group_id="g") | to_list()).start().result(timeout=SOON),
    "preview": lambda kafka: (kafka.source("t") | map_(bytes.decode)).preview(),
    "into a topic": lambda kafka: (from_iterable(["a"]) | kafka.sink("t")).run(),
    "into a topic per value": lambda kafka: (from_iterable(["a"]) | kafka.sink(lambda _: "t")).run(),
    "write": lambda kafka: kafka.write("t", ["a"]),
    "write to a topic per value": lambda kafka: kafka.write(lambda _: "t", ["a"]),
    "read": lambda kafka: kafka.read("t"),
    "topics": lambda kafka: kafka.topics(),
    "create_topic": lambda kafka: kafka.create_topic("t"),
    "delete_topic": lambda kafka: kafka.delete_topic("t"),
    "committed": lambda kafka: kafka.committed("g"),
    "lag": lambda kafka: kafka.lag("g"),
}


@pytest.mark.parametrize("way", WAYS)
def test_wrong_address_is_told_within_ten_seconds(way: str) -> None:
    (taken,) = reserved(1)
    port = port_of(taken)
    with taken, Kafka(f"127.0.0.1:{port}") as kafka, soon(), pytest.raises(BrokerUnreachable, match=str(port)):
        WAYS[way](kafka)


def test_topic_that_is_missing_is_told_within_ten_seconds_and_is_not_made(kafka: Kafka, t: str, g: str) -> None:
    flow = kafka.source(t, group_id=g) | sink(print)
    with soon(), pytest.raises(TopicNotFound, match=t):
        flow.run()
    with soon(), pytest.raises(TopicNotFound, match=t):
        (kafka.source(t) | to_list()).run(until="end")
    with soon(), pytest.raises(TopicNotFound, match=t):
        kafka.read(t)
    assert t not in kafka.topics()


def test_topic_that_is_missing_is_not_made_by_who_writes_either(kafka: Kafka, t: str) -> None:
    with soon(), pytest.raises(TopicNotFound, match=t):
        kafka.write(t, ["a"])
    with soon(), pytest.raises(TopicNotFound, match=t):
        (from_iterable(["a"]) | kafka.sink(t)).run()
    with soon(), pytest.raises(StepFailed, match=t) as info:
        (from_iterable(["a"]) | kafka.sink(lambda _: t)).run()
    assert isinstance(info.value.__cause__, TopicNotFound)
    assert t not in kafka.topics()


FROM_THE_END = """
import sys
from flowdsl import *
from tests.kafka.protocols import settings_of

address, topic, group, protocol = sys.argv[1:]
flow = Kafka(address).source(topic, group_id=group, start="latest", settings=settings_of(protocol)) | sink(lambda value: print(value.decode(), flush=True))
handle = flow.start(commit=every(seconds=3600))
assert handle.wait_ready(120)
print("ready", flush=True)
handle.result()
"""


@in_every_protocol
def test_start_at_the_end_survives_a_crash_before_the_first_commit(
    kafka: Kafka, kafka_address: str, t: str, g: str, protocol: str
) -> None:
    fill(kafka, t, 10)
    with program(FROM_THE_END, kafka_address, t, g, protocol) as process:
        assert lines_until(process, "ready") == ["ready"]
        add(kafka, t, range(10, 20))
        assert lines_until(process, "19") == [str(number) for number in range(10, 20)]
        process.kill()
    assert kafka.committed(g) == {Partition(Topic(t), 0): 10}
    values: list[int] = []
    flow = kafka.source(t, group_id=g, start="latest", decode=int, settings=settings_of(protocol)) | sink(values.append)
    with flow.start() as handle:
        wait_for(lambda: set(values) >= set(range(10, 20)))
        handle.stop()
    assert list(dict.fromkeys(values)) == list(range(10, 20))


@in_every_protocol
def test_partitions_that_appear_later_are_read_from_their_beginning(
    kafka: Kafka, kafka_address: str, t: str, g: str, protocol: str
) -> None:
    from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # noqa: PLC0415

    fill(kafka, t, 4)
    values: list[int] = []
    settings = {**settings_of(protocol), "topic.metadata.refresh.interval.ms": 500}
    flow = kafka.source(t, group_id=g, start="latest", decode=int, settings=settings) | sink(values.append)
    with flow.start(commit=every(seconds=0.2)) as handle:
        assert handle.wait_ready(120)
        admin = AdminClient({"bootstrap.servers": kafka_address})
        admin.create_partitions([NewPartitions(t, 2)])[t].result(30)
        wait_for(lambda: kafka.topics()[t] == 2)
        kafka.write(t, ["4", "5"], partition=1)
        wait_for(lambda: len(values) >= 2)
        handle.stop()
    assert values == [4, 5]
    assert kafka.committed(g)[Partition(Topic(t), 1)] == 2
