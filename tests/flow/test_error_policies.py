"""``on_error``: for a step or for the run; what a skipped record leaves behind, and what a dead letter holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from flowdsl import (
    TEXT,
    FlowDefinitionError,
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    batch,
    dead_letter,
    filter_,
    map_,
    sink,
    to_list,
    with_record,
)

ORDERS = Partition(Topic("orders"), 0)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
WORDS = ["1", "x", "3", "4", "y", "6"]


class Unusable(Exception):
    """What these functions raise."""


def number(word: str) -> int:
    if not word.isdigit():
        raise Unusable(f"no number: {word}")
    return int(word)


def numbers(words: Sequence[str]) -> list[int]:
    return [number(word) for word in words]


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as made:
        made.write("orders", WORDS, key=lambda word: f"key-{word}", headers=[("own", b"1")], timestamp=NOON)
        yield made


def source(broker: LocalBroker) -> Any:
    return broker.source("orders", group_id="g", decode=TEXT)


def headers_of(broker: LocalBroker, topic: str) -> list[dict[str, bytes | None]]:
    return [dict(letter.headers) for letter in broker.read(topic)]


# -- stop -----------------------------------------------------------------------------------------------------------------


def test_stop_is_what_happens_when_nothing_is_said(broker: LocalBroker) -> None:
    for given in ({}, {"on_error": "stop"}):
        with pytest.raises(StepFailed):
            (source(broker) | map_(number) | to_list()).run(until="end", **given)
        assert broker.committed("g") == {ORDERS: 1}


# -- skip -----------------------------------------------------------------------------------------------------------------


def test_skip_counts_logs_and_moves_the_offset(broker: LocalBroker, caplog: pytest.LogCaptureFixture) -> None:
    out: list[int] = []
    with caplog.at_level(logging.WARNING, "flowdsl"):
        stats = (source(broker) | map_(number) | sink(out.append)).run(until="end", on_error="skip")
    assert out == [1, 3, 4, 6]
    assert broker.committed("g") == {ORDERS: 6}
    assert (stats.read, stats.delivered, stats.failed, stats.filtered) == (6, 4, 2, 0)
    told = [record.getMessage() for record in caplog.records]
    assert ["orders[0] offset 1" in told[0], "orders[0] offset 4" in told[1], len(told)] == [True, True, 2]
    assert "Unusable: no number: x" in told[0]
    assert not any("read again" in text for text in told)  # it is not


def test_skip_of_a_group_is_all_of_it(broker: LocalBroker) -> None:
    out: list[list[int]] = []
    flow = source(broker) | batch(2) | map_(numbers) | sink(out.append)
    stats = flow.run(until="end", on_error="skip")
    assert out == [[3, 4]]
    assert broker.committed("g") == {ORDERS: 6}
    assert stats.in_flight == 0


def test_step_that_failed_has_received_what_it_could_not_hand_on(broker: LocalBroker) -> None:
    flow = source(broker) | map_(number) | filter_(lambda n: 12 // (n - 3) > 0) | sink(lambda _: None)
    stats = flow.run(until="end", on_error="skip")
    assert [(step.name, step.received, step.emitted) for step in stats.steps] == [
        ("source", 6, 6),
        ("number", 6, 4),
        ("filter_", 4, 2),  # 3 fails, and 1 is filtered
        ("sink", 2, 2),
    ]
    assert (stats.failed, stats.filtered, stats.delivered) == (3, 1, 2)


# -- dead letters ---------------------------------------------------------------------------------------------------------


def test_dead_letter_is_the_original_with_what_happened(broker: LocalBroker) -> None:
    flow = source(broker) | map_(lambda word: f"{word}") | map_(number, name="parse") | sink(lambda _: None)
    flow.run(until="end", on_error=dead_letter(broker.sink("dead")))
    one, other = broker.read("dead")
    assert (one.key, one.value, one.timestamp) == (b"key-x", b"x", NOON)
    assert one.headers == (
        ("own", b"1"),
        ("flowdsl-topic", b"orders"),
        ("flowdsl-partition", b"0"),
        ("flowdsl-offset", b"1"),
        ("flowdsl-timestamp", b"2024-05-01T12:00:00+00:00"),
        ("flowdsl-step", b"parse"),
        ("flowdsl-exception", f"{__name__}.Unusable".encode()),
        ("flowdsl-message", b"no number: x"),
        ("flowdsl-attempts", b"1"),
    )
    assert (other.value, dict(other.headers)["flowdsl-offset"]) == (b"y", b"4")
    assert broker.committed("g") == {ORDERS: 6}


def test_of_a_failed_group_every_original_is_a_letter(broker: LocalBroker) -> None:
    out: list[list[int]] = []
    flow = source(broker) | batch(2) | map_(numbers) | sink(out.append)
    flow.run(until="end", on_error=dead_letter(broker.sink("dead")))
    letters = broker.read("dead")
    assert out == [[3, 4]]
    assert [letter.value for letter in letters] == [b"1", b"x", b"y", b"6"]
    assert [letter.key for letter in letters] == [b"key-1", b"key-x", b"key-y", b"key-6"]
    assert [headers["flowdsl-offset"] for headers in headers_of(broker, "dead")] == [b"0", b"1", b"4", b"5"]
    assert {headers["flowdsl-step"] for headers in headers_of(broker, "dead")} == {b"numbers"}


def test_sink_of_dead_letters_may_be_any_fragment_and_gets_the_raw_value(broker: LocalBroker) -> None:
    raw: list[bytes] = []
    records: list[Any] = []
    flow = source(broker) | map_(number) | sink(lambda _: None)
    flow.run(until="end", on_error=dead_letter(batch(10) | sink(raw.extend)))
    assert raw == [b"x", b"y"]
    broker.write("orders", ["z"], key="key-z")
    flow.run(until="end", on_error=dead_letter(with_record() | sink(records.append)))
    ((value, record),) = records
    assert (value, record.key, record.offset, dict(record.headers)["flowdsl-offset"]) == (b"z", b"key-z", 6, b"6")


def test_tombstone_that_nobody_wanted_is_a_letter_without_value() -> None:
    with LocalBroker() as broker:
        broker.write("orders", [None], key="k")
        (source(broker) | sink(lambda _: None)).run(until="end", on_error=dead_letter(broker.sink("dead")))
        (letter,) = broker.read("dead")
        assert (letter.key, letter.value, dict(letter.headers)["flowdsl-step"]) == (b"k", None, b"source")


def test_long_messages_are_shortened(broker: LocalBroker) -> None:
    def fail(_: str) -> None:
        raise Unusable("z" * 5000)

    flow = source(broker) | map_(fail) | sink(lambda _: None)
    flow.run(until="end", on_error=dead_letter(broker.sink("dead")))
    assert {len(headers["flowdsl-message"] or b"") for headers in headers_of(broker, "dead")} == {200}


def test_policy_of_a_step_is_for_that_step(broker: LocalBroker) -> None:
    step = map_(number, on_error=dead_letter(broker.sink("dead")))
    flow = source(broker) | step | map_(lambda n: 12 // (n - 3)) | sink(lambda _: None)
    stats = flow.run(until="end", on_error="skip")
    assert [letter.value for letter in broker.read("dead")] == [b"x", b"y"]
    assert (stats.failed, stats.delivered) == (3, 3)
    strict = source(broker) | map_(number, on_error="stop") | sink(lambda _: None)
    broker.write("orders", ["w"])
    with pytest.raises(StepFailed):
        strict.run(until="end", on_error="skip")


# -- misuse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [None, 5, "dead"])
def test_dead_letter_wants_a_sink(wrong: Any) -> None:
    with pytest.raises(TypeError, match="sink must be a sink or a fragment that ends in one"):
        dead_letter(wrong)


ON_ERROR: list[Callable[[LocalBroker, Any], Any]] = [
    lambda broker, policy: (source(broker) | map_(number) | sink(print)).run(until="end", on_error=policy),
    lambda broker, policy: (source(broker) | map_(number, on_error=policy) | sink(print)).run(until="end"),
]


@pytest.mark.parametrize("give", ON_ERROR)
def test_policies_that_cannot_work_are_refused_before_anything_is_read(
    broker: LocalBroker, give: Callable[[LocalBroker, Any], Any]
) -> None:
    open_fragment: Any = map_(str)
    for policy, text in ((dead_letter(open_fragment), "does not end"), (dead_letter(to_list()), "to_list")):  # type: ignore[arg-type]  # misuse
        with pytest.raises(FlowDefinitionError, match=text):
            give(broker, policy)
    for wrong in ("ignore", 5, dead_letter):
        with pytest.raises(ValueError, match='on_error must be "stop", "skip"'):
            give(broker, wrong)
    assert broker.committed("g") == {}
