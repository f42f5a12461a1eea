"""Topics that come, go, and are made anew while they are read."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from flowdsl import BrokerError, Kafka, StopTimeout, TopicNotFound, every, sink, to_list
from tests.kafka.helpers import PATIENCE, add, fill, wait_for
from tests.kafka.protocols import in_every_protocol, settings_of

pytestmark = pytest.mark.slow
OFTEN: dict[str, Any] = {"topic.metadata.refresh.interval.ms": 500}


def test_pattern_follows_topics_that_are_made_later(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, f"{t}-a", 5)
    values: list[int] = []
    flow = kafka.source(re.compile(f"{t}-.*"), group_id=g, decode=int, settings=OFTEN) | sink(values.append)
    with flow.start() as handle:
        wait_for(lambda: len(values) == 5)
        kafka.create_topic(f"{t}-b")
        add(kafka, f"{t}-b", range(5, 10))
        wait_for(lambda: set(values) == set(range(10)))
        handle.stop()


@in_every_protocol
def test_bounded_run_reads_a_topic_that_its_group_has_not_begun(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    fill(kafka, f"{t}-a", 5)
    flow = kafka.source(re.compile(f"{t}-.*"), group_id=g, decode=int, settings=settings_of(protocol)) | to_list()
    assert flow.run(until="end", timeout=120.0) == list(range(5))
    kafka.create_topic(f"{t}-b")
    add(kafka, f"{t}-b", range(5, 15))
    assert flow.run(until="end", timeout=120.0) == list(range(5, 15))  # and nothing is new in the first
    assert sum(kafka.committed(g).values()) == 15


@in_every_protocol
def test_pattern_goes_on_without_a_topic_that_is_deleted(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    fill(kafka, f"{t}-a", 5)
    fill(kafka, f"{t}-b", 5)
    values: list[int] = []
    settings = {**settings_of(protocol), **OFTEN}
    flow = kafka.source(re.compile(f"{t}-.*"), group_id=g, decode=int, settings=settings) | sink(values.append)
    with flow.start(commit=every(seconds=0.2)) as handle:
        wait_for(lambda: len(values) == 10 and sum(kafka.committed(g).values()) == 10)
        kafka.delete_topic(f"{t}-a")
        wait_for(lambda: len(kafka.committed(g)) == 1)
        add(kafka, f"{t}-b", range(5, 10))
        wait_for(lambda: set(values) == set(range(10)) and sum(kafka.lag(g).values()) == 0)
        handle.stop()


@in_every_protocol
def test_reader_of_a_topic_that_is_deleted_is_told(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    for name in (t, f"{t}-other"):
        fill(kafka, name, 10)
    values: list[int] = []
    settings = {**settings_of(protocol), **OFTEN}
    flow = kafka.source([t, f"{t}-other"], group_id=g, decode=int, settings=settings) | sink(values.append)
    handle = flow.start(commit=every(seconds=0.2))
    wait_for(lambda: sum(kafka.committed(g).values()) == 20)
    kafka.delete_topic(t)
    with pytest.raises(TopicNotFound, match=f"'{t}' does not exist"):
        handle.result(timeout=120.0)


def test_reader_of_a_topic_that_is_made_anew_and_shorter_is_told(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 100)
    values: list[int] = []
    handle = (kafka.source(t, group_id=g, decode=int, settings=OFTEN) | sink(values.append)).start()
    wait_for(lambda: len(values) == 100)
    kafka.delete_topic(t)
    fill(kafka, t, 50)
    with pytest.raises(BrokerError, match=t):
        handle.result(timeout=120.0)


def test_reader_of_a_topic_that_is_made_anew_and_as_long_is_told(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 100)
    values: list[int] = []
    settings = {"partition.assignment.strategy": "range"}  # these members do not notice by themselves
    source = kafka.source(t, group_id=g, decode=int, on_gap="earliest", settings=settings)  # it may be read while empty
    handle = (source | sink(values.append)).start()
    wait_for(lambda: len(values) == 100)
    kafka.delete_topic(t)
    fill(kafka, t, 200)
    with pytest.raises(BrokerError, match=f"'{t}' was deleted and made anew"):
        handle.result(timeout=120.0)


@pytest.mark.parametrize("is_closed", [False, True])
def test_stop_right_behind_a_topic_made_anew_commits_nothing_of_it(
    kafka: Kafka, kafka_address: str, t: str, g: str, is_closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody read it meanwhile, or has looked at it yet; also where the broker that the flow began with was closed."""
    monkeypatch.setattr(
        "flowdsl.brokers.kafka.watching.IN_TURN", PATIENCE
    )  # the last commit waits for the look for a second, and no more
    fill(kafka, t, 100)
    remade = threading.Event()
    values: list[int] = []

    def hold(value: int) -> None:
        values.append(value)
        if value == 99:
            assert remade.wait(PATIENCE)

    reader = Kafka(kafka_address)
    handle = (reader.source(t, group_id=g, decode=int) | sink(hold)).start(commit=every(seconds=1000.0))
    wait_for(lambda: len(values) == 100)
    if is_closed:
        reader.close()
    kafka.delete_topic(t)
    fill(kafka, t, 200)
    with pytest.raises(StopTimeout):
        handle.stop(timeout=0.0)
    remade.set()
    with pytest.raises(BrokerError, match=f"'{t}' was deleted and made anew"):
        handle.result(timeout=120.0)
    reader.close()
    assert 100 not in kafka.committed(g).values()
