"""Sinks at work: objects that write and flush, and broker's topics that inherit from the record a value came from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from flowdsl import (
    INHERIT,
    JSON,
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    batch,
    dead_letter,
    every,
    filter_,
    flat_map,
    from_iterable,
    map_,
    sink,
)
from flowdsl.testing import Driver

P0 = Partition(Topic("t"), 0)
WHEN = datetime(2024, 5, 1, 12, tzinfo=UTC)
LATER = datetime(2025, 5, 1, 12, tzinfo=UTC)


class Store:
    """A sink that keeps what it was given at its flush; fails where it is told to."""

    def __init__(self, *, poison: object = None, full: bool = False) -> None:
        self.poison, self.full = poison, full
        self.buffer: list[Any] = []
        self.kept: list[Any] = []
        self.calls: list[str] = []

    def open(self) -> None:
        self.calls.append("open")

    def write(self, values: Sequence[Any]) -> None:
        if self.poison in values:
            raise ValueError(self.poison)
        self.buffer += values

    def flush(self) -> None:
        if self.full:
            raise OSError("full")
        self.calls.append("flush")
        self.kept += self.buffer
        self.buffer.clear()

    def close(self) -> None:
        self.calls.append("close")


def source(**given: Any) -> Any:
    return LocalBroker().source("t", group_id="g", **given)


def test_object_is_opened_once_written_flushed_and_closed() -> None:
    store = Store()
    stats = (from_iterable(range(100)) | sink(store)).run()
    assert store.kept == list(range(100))
    assert (store.calls[0], store.calls[-1], store.calls.count("open")) == ("open", "close", 1)
    assert store.calls[-2] == "flush"
    assert stats.delivered == 100


def test_offsets_move_after_the_flush() -> None:
    store = Store()
    driver = Driver(source() | sink(store), commit=every(seconds=0.5))
    driver.send(b"a")
    driver.advance(0.4)
    assert (store.buffer, store.kept, driver.committed) == ([b"a"], [], {})
    driver.advance(0.6)
    assert (store.kept, driver.committed) == ([b"a"], {P0: 1})


def test_failed_flush_commits_nothing_of_what_it_was_for() -> None:
    store = Store(full=True)
    driver = Driver(source() | sink(store))
    driver.send(b"a")
    driver.send(b"b")
    with pytest.raises(StepFailed, match="full") as failed:
        driver.advance(5.0)
    assert (failed.value.offset, failed.value.count, driver.committed) == (0, 2, {})
    store.full = False
    driver.restart()
    driver.close()
    assert store.kept[-2:] == [b"a", b"b"]
    assert driver.committed == {P0: 2}


def test_flush_that_failed_is_not_tried_again_by_the_drain() -> None:
    tried: list[str] = []

    class Flaky(Store):
        def flush(self) -> None:
            tried.append("flush")
            if len(tried) == 1:
                raise OSError("full")
            super().flush()

    driver = Driver(source() | sink(Flaky()))
    driver.send(b"a")
    with pytest.raises(StepFailed, match="full"):
        driver.advance(5.0)
    assert (tried, driver.committed) == (["flush"], {})


def test_write_that_fails_stops_before_what_it_was_given() -> None:
    store = Store(poison=b"x")
    driver = Driver(source() | sink(store))
    driver.send(b"a")
    driver.run_until_idle()
    driver.send(b"b")
    driver.send(b"x")
    with pytest.raises(StepFailed) as failed:
        driver.run_until_idle()
    assert isinstance(failed.value.__cause__, ValueError)
    assert failed.value.offset <= 2
    assert driver.committed == {P0: failed.value.offset}
    assert store.kept[0] == b"a"


@pytest.mark.parametrize("letters", [False, True])
def test_write_that_fails_drops_the_culprit_alone_where_the_run_goes_on(letters: bool) -> None:
    store = Store(poison=b"x")
    policy: Any = dead_letter(sink(lambda _: None, name="letters")) if letters else "skip"
    driver = Driver(source() | sink(store, on_error=policy))
    for value in (b"a", b"b", b"x", b"c", b"d"):
        driver.send(value)
    driver.close()
    assert set(store.kept) == {b"a", b"b", b"c", b"d"}
    assert driver.committed == {P0: 5}
    assert [letter.value for letter in driver.dead_letters] == ([b"x"] if letters else [])


def test_object_behind_a_group_is_given_lists() -> None:
    store = Store()
    (from_iterable(range(5)) | batch(2) | sink(store)).run()
    assert store.kept == [[0, 1], [2, 3], [4]]


def copied(*operators: Any, **given: Any) -> list[Any]:
    """What a topic holds after two records of another went there through these steps."""
    broker = LocalBroker()
    broker.write("in", [b"a"], key=b"k", headers=[("h", b"1"), ("n", None)], timestamp=WHEN)
    broker.write("in", [b"b"])
    flow: Any = broker.source("in", group_id="g")
    flow.pipe(*operators, broker.sink("out", **given)).run(until="end")
    return [(r.key, r.value, r.headers, r.timestamp) for r in broker.read("out")]


def test_key_headers_and_timestamp_are_inherited() -> None:
    first, second = copied(map_(bytes.upper))
    assert first == (b"k", b"A", (("h", b"1"), ("n", None)), WHEN)
    assert second[:3] == (None, b"B", ())


def test_inheritance_passes_steps_that_drop_and_multiply() -> None:
    records = copied(filter_(lambda v: v == b"a"), flat_map(lambda v: [v, v]))
    assert [record[0] for record in records] == [b"k", b"k"]


def test_value_of_several_records_inherits_nothing() -> None:
    ((key, value, headers, timestamp),) = copied(batch(2), map_(b"".join))
    assert (key, value, headers) == (None, b"ab", ())
    assert timestamp != WHEN


def test_none_means_none() -> None:
    first, _ = copied(key=None, headers=None, timestamp=None)
    assert first[:3] == (None, b"a", ())
    assert first[3] != WHEN


def test_values_and_functions_take_the_place_of_what_would_be_inherited() -> None:
    first, second = copied(
        map_(bytes.decode),
        key=lambda text: f"key of {text}",
        headers=lambda text: [("from", text.encode())],
        timestamp=LATER,
        encode=lambda text: f"<{text}>",
    )
    assert first == (b"key of a", b"<a>", (("from", b"a"),), LATER)
    assert second == (b"key of b", b"<b>", (("from", b"b"),), LATER)
    assert copied(key=b"same", headers=[("x", b"y")])[0][:3] == (b"same", b"a", (("x", b"y"),))
    assert copied(key=INHERIT)[0][0] == b"k"


def test_topic_and_partition_can_be_functions() -> None:
    broker = LocalBroker(partitions=3)
    flow = from_iterable([1, 2, 3, 4]) | broker.sink(
        lambda n: "even" if n % 2 == 0 else "odd", partition=lambda n: n % 3, encode=str
    )
    flow.run()
    assert [(r.partition, r.value) for r in broker.read("even")] == [(1, b"4"), (2, b"2")]
    assert [(r.partition, r.value) for r in broker.read("odd")] == [(0, b"3"), (1, b"1")]


def test_none_is_a_tombstone_and_is_not_encoded() -> None:
    broker = LocalBroker()
    values: Any = from_iterable([{"id": 1}, None])
    (values | broker.sink("out", key=b"k", encode=JSON)).run()
    assert [r.value for r in broker.read("out")] == [b'{"id":1}', None]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"key": lambda _: 5}, "key must be bytes or str, not 5"),
        ({"headers": lambda _: [5]}, "headers must be pairs"),
        ({"topic": lambda _: ""}, "topic must be a name"),
        ({"partition": lambda _: -1}, "partition must be at least 0, but is -1"),
        ({"timestamp": lambda _: datetime(2024, 1, 1)}, "timestamp must be aware"),  # noqa: DTZ001  # that is what is refused
        ({"encode": lambda _: 5}, "value must be bytes or str, not 5"),
    ],
)
def test_what_cannot_be_produced_is_a_failing_record(given: dict[str, Any], text: str) -> None:
    broker = LocalBroker()
    topic = given.pop("topic", "out")
    driver = Driver(source() | broker.sink(topic, **given))
    driver.send(b"a")
    with pytest.raises(StepFailed, match=text) as failed:
        driver.run_until_idle()
    assert (failed.value.offset, driver.committed, driver.outputs) == (0, {}, [])


def test_partition_that_does_not_exist_is_a_failing_record_and_the_others_go_on() -> None:
    broker = LocalBroker()
    broker.create_topic("out", partitions=1)
    broker.write("t", [b"0", b"7", b"0"])
    flow = broker.source("t", group_id="g") | broker.sink("out", partition=int)
    stats = flow.run(until="end", on_error="skip")
    assert [r.value for r in broker.read("out")] == [b"0", b"0"]
    assert (stats.failed, stats.delivered, broker.committed("g")) == (1, 2, {P0: 3})


def test_dead_letter_carries_everything_about_the_record_and_the_failure() -> None:
    broker = LocalBroker()
    broker.write("t", [b"x"], key=b"k", headers=[("h", b"1")], timestamp=WHEN)
    flow = broker.source("t", group_id="g") | map_(int, name="number") | sink(lambda _: None)
    flow.run(until="end", on_error=dead_letter(broker.sink("dead")))
    (letter,) = broker.read("dead")
    assert (letter.key, letter.value, letter.timestamp) == (b"k", b"x", WHEN)
    assert letter.headers[0] == ("h", b"1")
    headers = dict(letter.headers)
    assert headers.pop("flowdsl-message") == b"invalid literal for int() with base 10: b'x'"
    assert headers == {
        "h": b"1",
        "flowdsl-topic": b"t",
        "flowdsl-partition": b"0",
        "flowdsl-offset": b"0",
        "flowdsl-timestamp": WHEN.isoformat().encode(),
        "flowdsl-step": b"number",
        "flowdsl-exception": b"ValueError",
        "flowdsl-attempts": b"1",
    }


def test_null_value_and_no_key_survive_in_a_dead_letter() -> None:
    broker = LocalBroker()
    broker.write("t", [None])
    flow = broker.source("t", group_id="g") | sink(lambda _: None)
    flow.run(until="end", on_error=dead_letter(broker.sink("dead")))
    (letter,) = broker.read("dead")
    assert (letter.key, letter.value) == (None, None)


def test_failing_values_of_one_record_are_one_letter_each_and_one_offset() -> None:
    driver = Driver(
        source() | flat_map(lambda v: [v, b"x", v]) | map_(int) | sink(lambda _: None, name="end"),
        on_error=dead_letter(sink(lambda _: None, name="letters")),
    )
    driver.send(b"1")
    driver.close()
    assert (driver.outputs, driver.committed) == ([1, 1], {P0: 1})
    assert [letter.value for letter in driver.dead_letters] == [b"1"]
