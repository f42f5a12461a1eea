"""What is told of a broker that goes away, and what is known of its topics when it is replaced."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Uuid

from flowdsl.brokers.kafka.refusals import Refusals
from flowdsl.brokers.kafka.topics import Identities
from flowdsl.brokers.kafka.weather import Reach, Weather
from flowdsl.errors import BrokerError, DeliveryFailed

DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN)


def weathers(count: int) -> list[Weather]:
    """Of clients that have heard of the broker."""
    reach = Reach("a Kafka")
    found = [Weather(reach) for _ in range(count)]
    for weather in found:
        weather.came_back()
    return found


def told(caplog: pytest.LogCaptureFixture) -> str:
    """What was told since the last time: a minus for one that is away, a plus for one that is back."""
    lines = "".join("-" if "cannot be reached" in record.message else "+" for record in caplog.records)
    caplog.clear()
    return lines


def test_outage_is_told_once_by_whoever_notices_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, second = weathers(2)
    for _ in range(2):
        first(DOWN)
        second(DOWN)
        assert told(caplog) == "-"
        second.came_back()
        first.came_back()
        assert told(caplog) == "+"


def test_outage_is_told_behind_one_in_which_somebody_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, second = weathers(2)
    first(DOWN)
    first.closes()
    assert told(caplog) == "-"
    second(DOWN)
    second.came_back()
    assert told(caplog) == "-+"


def test_client_that_is_seldom_asked_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    weather = Weather(None)
    weather.came_back()
    weather(DOWN)
    assert weather.is_away
    weather.came_back()
    assert not weather.is_away
    assert not told(caplog)


def test_broker_that_knows_no_ids_of_topics_yet_makes_none_anew() -> None:
    """As brokers of Kafka 2.7 do, and those beside them that were replaced by newer ones do not."""
    ids = [Uuid(0, 0), Uuid(1, 2), Uuid(0, 0), Uuid(1, 2), Uuid(3, 4)]

    def describe(names: list[str]) -> dict[str, Future[Any]]:
        answer: Future[Any] = Future()
        answer.set_result(SimpleNamespace(topic_id=ids.pop(0)))
        return dict.fromkeys(names, answer)

    identities = Identities(describe, "a Kafka")
    for _ in range(5):
        identities.look({"t"})
    with pytest.raises(BrokerError, match="'t' was deleted and made anew"):
        identities.look({"t"})


def test_topic_whose_leaders_are_being_chosen_may_have_any_partition() -> None:
    Refusals("a Kafka", lambda _: 0).expect("t", 3)
    Refusals("a Kafka", lambda _: 4).expect("t", 3)
    with pytest.raises(DeliveryFailed, match="'t' has 3 partitions, and none with the number 3"):
        Refusals("a Kafka", lambda _: 3).expect("t", 3)
