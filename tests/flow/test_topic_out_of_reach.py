"""A topic is gone, or closed to the flow that writes to it: no policy passes over everything that was to go there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from flowdsl import BrokerError, LocalBroker, NotAuthorized, Partition, Topic, TopicNotFound, dead_letter, retry
from flowdsl.brokers.local.producer import LocalProducer
from flowdsl.brokers.protocols import Outgoing

ERRORS = [NotAuthorized, TopicNotFound]
POLICIES: dict[str, Callable[[LocalBroker], Any]] = {
    "stop": lambda _: "stop",
    "skip": lambda _: "skip",
    "dead letters": lambda broker: dead_letter(broker.sink("letters")),
    "retry": lambda _: retry(2, first=0.001, then="skip"),
}


@pytest.fixture(params=ERRORS)
def error(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[BrokerError]:
    """What a producer says of everything from the third record on."""
    kind: type[BrokerError] = request.param

    class Refused(LocalProducer):
        def _write(self, record: Outgoing, now: datetime) -> tuple[Partition, int] | BrokerError:
            return kind("closed") if record.topic == "out" and record.value >= b"2" else super()._write(record, now)  # type: ignore[operator]  # values are bytes here

    monkeypatch.setattr("flowdsl.brokers.local.client.LocalProducer", Refused)
    return kind


@pytest.fixture
def broker() -> LocalBroker:
    broker = LocalBroker()
    broker.write("orders", ["0", "1", "2", "3"])
    for topic in ("out", "elsewhere", "letters"):
        broker.create_topic(topic)
    return broker


def in_topic(broker: LocalBroker, topic: str) -> list[bytes | None]:
    return [record.value for record in broker.read(topic)]


@pytest.mark.parametrize("policy", POLICIES)
def test_topic_that_takes_nothing_more_ends_the_run_under_every_policy(
    broker: LocalBroker, error: type[BrokerError], policy: str
) -> None:
    flow = broker.source("orders", group_id="g") | broker.sink("out", on_error=POLICIES[policy](broker))
    with pytest.raises(error, match="closed"):
        flow.run(until="end")
    assert in_topic(broker, "out") == [b"0", b"1"]
    assert in_topic(broker, "letters") == []
    assert broker.committed("g") == {Partition(Topic("orders"), 0): 2}


def test_record_that_names_a_topic_which_does_not_take_it_is_one_that_fails(
    broker: LocalBroker, error: type[BrokerError]
) -> None:
    where = {b"2": "out"}
    flow = broker.source("orders", group_id="g") | broker.sink(
        lambda value: where.get(value, "elsewhere"), on_error=dead_letter(broker.sink("letters"))
    )
    assert flow.run(until="end").failed == 1
    assert in_topic(broker, "elsewhere") == [b"0", b"1", b"3"]
    [letter] = broker.read("letters")
    assert letter.value == b"2"
    assert dict(letter.headers)["flowdsl-exception"] == f"flowdsl.errors.{error.__name__}".encode()
    assert broker.committed("g") == {Partition(Topic("orders"), 0): 4}
