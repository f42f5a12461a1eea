"""A commit that is waited for during a rebalance, where librdkafka's own answer cannot be heard: the broker is asked for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from flowdsl.brokers.kafka.commits import Commits
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerError
from flowdsl.types import Partition, Topic

PLACE = Partition(Topic("t"), 0)


class Coordinator:
    """The part of librdkafka's consumer that is used. ``says`` answers what the group has."""

    def __init__(self, says: Callable[[], int]) -> None:
        self._says = says
        self.asked = 0

    def commit(self, offsets: Sequence[TopicPartition]) -> None: ...

    def committed(self, partitions: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        self.asked += 1
        return [TopicPartition(each.topic, each.partition, self._says()) for each in partitions]


def looked(
    says: Callable[[], int], seconds: float, weather: Weather | None = None
) -> tuple[list[BrokerError | None], float]:
    """What is told about a commit of offset 5, and how much of the time is left."""
    coordinator: Any = Coordinator(says)
    commits = Commits("a Kafka", weather or Weather(None))
    commits.handle = coordinator
    told: list[BrokerError | None] = []
    commits.start({PLACE: 5}, told.append)
    deadline = Deadline.after(SYSTEM_CLOCK, seconds)
    asker: Any = SimpleNamespace(handle=coordinator)
    commits.look(asker, deadline)
    return told, deadline.remaining() or 0.0


def test_commit_that_the_broker_has_is_told() -> None:
    told, _ = looked(lambda: 5, 60.0)
    assert told == [None]


def test_commit_that_was_refused_is_not_waited_for_as_long_as_the_group_has_patience() -> None:
    told, left = looked(lambda: 0, 60.0)
    assert told == [], "nobody knows why; librdkafka tells it later"
    assert left > 0


@pytest.mark.parametrize("seconds", [0.0, 2.5])
def test_broker_that_does_not_answer_is_waited_for_and_the_client_told_its_servers(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> int:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    asked_in_vain: list[object] = []
    weather = Weather(None)
    monkeypatch.setattr(weather, "not_answered", asked_in_vain.append)
    told, left = looked(away, seconds, weather)
    assert (told, left) == ([], 0)
    assert bool(asked_in_vain) == (seconds > 0)
