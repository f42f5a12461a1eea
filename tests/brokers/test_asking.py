"""Questions to a broker that has just begun are asked again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from flowdsl import BrokerError, BrokerUnreachable, Partition, Topic, TopicNotFound
from flowdsl.brokers.kafka.asking import Asker
from flowdsl.brokers.kafka.weather import Weather

PLACE = Partition(Topic("t"), 0)
UNKNOWN = KafkaError._UNKNOWN_PARTITION  # librdkafka's own errors are named so


class Outdated:
    """The part of librdkafka's consumer that is used: knows a partition once it has asked so many times for all topics."""

    def __init__(self, needed: int) -> None:
        self.needed = needed

    def list_topics(self, *, timeout: float) -> None:
        assert timeout > 0
        self.needed -= 1

    def committed(self, asked: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        return self.offsets_for_times(asked, timeout)

    def offsets_for_times(self, asked: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        if self.needed > 0:
            raise KafkaException(KafkaError(UNKNOWN))
        return [TopicPartition(each.topic, each.partition, 7) for each in asked]


class Shrinking:
    """Its first answers come to nothing: the broker that was asked left the cluster meanwhile."""

    def __init__(self, *failures: KafkaError) -> None:
        self._failures = list(failures)

    def offsets_for_times(self, asked: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        answers = [TopicPartition(each.topic, each.partition, 7) for each in asked]
        if self._failures:
            raise KafkaException(self._failures.pop(0))
        return answers


def is_done_for() -> None:
    """A poll of a client that found out that it can do nothing more."""
    raise KafkaException(KafkaError(KafkaError._FATAL, "it is over", True))


def asker(handle: Any, *, is_called: bool = False, weather: Weather | None = None) -> Asker:
    return Asker(handle, "a Kafka", weather or Weather(None), lambda: None, lambda: is_called)


def test_client_that_learnt_too_little_of_a_broker_that_began_asks_for_its_partitions_anew() -> None:
    assert asker(Outdated(2)).ends([PLACE]) == {PLACE: 7}


def test_client_that_got_no_answer_is_told_its_servers_before_it_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    weather = Weather(None)
    monkeypatch.setattr(weather, "not_answered", told.append)
    handle = Shrinking(KafkaError(KafkaError._TRANSPORT), KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    assert asker(handle, weather=weather).ends([PLACE]) == {PLACE: 7}
    assert told == [handle], "one that is not ready yet did answer"


def test_client_that_is_calling_back_is_asked_again_later_and_not_for_its_topics() -> None:
    handle = Outdated(1)
    with pytest.raises(BrokerUnreachable, match="asking where partitions begin and end"):
        asker(handle, is_called=True).ends([PLACE])
    assert handle.needed == 1


def test_cluster_that_goes_on_without_the_broker_that_was_asked_is_asked_again() -> None:
    gone, moves = KafkaError._DESTROY_BROKER, KafkaError.LEADER_NOT_AVAILABLE
    assert asker(Shrinking(KafkaError(gone), KafkaError(moves))).ends([PLACE]) == {PLACE: 7}


def test_broker_that_says_that_it_is_not_ready_is_not_told_to_be_elsewhere() -> None:
    """Another one of its cluster may be, which was heard of before."""
    weather = Weather(None)
    weather(KafkaError(KafkaError._TRANSPORT))
    handle = Shrinking(*[KafkaError(KafkaError.LEADER_NOT_AVAILABLE)] * 100)
    with pytest.raises(BrokerUnreachable, match=r"a Kafka is not ready yet: Broker: Leader not available$"):
        asker(handle, weather=weather).ends([PLACE], 0.2)


def test_client_that_is_done_for_while_it_asks_is_an_error_for_people() -> None:
    gone = Shrinking(KafkaError(KafkaError._DESTROY_BROKER))
    with pytest.raises(BrokerError, match=r"^asking where partitions begin and end: .*it is over"):
        Asker(gone, "a Kafka", Weather(None), is_done_for, lambda: False).ends([PLACE])  # type: ignore[arg-type]


def test_partition_that_stays_unknown_is_told() -> None:
    with pytest.raises(TopicNotFound, match="asking for committed offsets"):
        asker(Outdated(1_000_000)).committed([PLACE], seconds=0.2)
