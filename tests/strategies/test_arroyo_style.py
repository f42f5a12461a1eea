"""The hand-wired factories do what they say, driven message by message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowdsl.errors import InvalidMessage
from flowdsl.strategies import KafkaPayload, Message, ProcessingStrategy, ProcessingStrategyFactory, Topic
from tests.strategies.arroyo_style import (
    BatchingFactory,
    CountingFactory,
    ExplodingFactory,
    ForwardingFactory,
    PrintingFactory,
)
from tests.strategies.doubles import P0, Answering, Commits, at

ORDERS = [{"id": n, "paid": n % 2 == 0, "customer": "ab"[n % 2], "items": list(range(n))} for n in range(5)]


def record(n: int) -> Message[KafkaPayload]:
    return at(n, KafkaPayload(None, json.dumps(ORDERS[n]).encode()))


def run(factory: ProcessingStrategyFactory[KafkaPayload]) -> Commits:
    commits = Commits()
    strategy: ProcessingStrategy[Any] = factory.create_with_partitions(commits, {P0: 0})
    for n in range(len(ORDERS)):
        strategy.poll()
        strategy.submit(record(n))
    strategy.close()
    strategy.join(1.0)
    return commits


def test_printing() -> None:
    factory = PrintingFactory()
    assert run(factory).reached == {P0: 5}
    assert factory.seen == [record(n).payload.value for n in range(5)]


def test_batching() -> None:
    factory = BatchingFactory(size=2)
    assert run(factory).reached == {P0: 5}
    assert [[order["id"] for order in batch] for batch in factory.written] == [[0, 2], [4]]


def test_forwarding() -> None:
    producer = Answering()
    assert run(ForwardingFactory(producer, Topic("paid"))).reached == {P0: 5}
    assert [(topic, payload.key) for topic, payload in producer.sent] == [
        (Topic("paid"), key) for key in (b"0", b"2", b"4")
    ]


def test_exploding() -> None:
    factory = ExplodingFactory()
    assert run(factory).reached == {P0: 5}
    assert factory.items == [0, 0, 1, 0, 1, 2, 0, 1, 2, 3]


def test_counting() -> None:
    factory = CountingFactory(size=3)
    assert run(factory).reached == {P0: 5}
    assert factory.counts == [{"a": 2, "b": 1}, {"b": 1, "a": 1}]


def test_what_cannot_be_parsed_is_invalid_and_says_why() -> None:
    commits = Commits()
    batching = BatchingFactory().create_with_partitions(commits, {})
    with pytest.raises(InvalidMessage, match="Expecting value"):
        batching.submit(at(0, KafkaPayload(None, b"nonsense")))
    assert commits.reached == {P0: 1}
