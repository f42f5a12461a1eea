"""Sources at work: decoding, null values, and records beside their values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from flowdsl import (
    JSON,
    TEXT,
    FlowDefinitionError,
    LocalBroker,
    Partition,
    Record,
    StepFailed,
    Topic,
    batch,
    dead_letter,
    decode,
    flat_map,
    from_iterable,
    map_,
    sink,
    to_list,
    with_record,
)
from flowdsl.testing import Driver

P0 = Partition(Topic("t"), 0)


def nothing(_: object) -> None:
    pass


def driver_of(*operators: Any, on_error: Any = "stop", **given: Any) -> Driver:
    flow: Any = LocalBroker().source("t", group_id="g", **given)
    return Driver(flow.pipe(*operators, sink(nothing)), on_error=on_error)


def test_value_that_cannot_be_decoded_is_a_failing_record_of_the_source() -> None:
    driver = driver_of(decode=json.loads, name="orders")
    driver.send(b'{"id": 1}')
    driver.send(b"{")
    with pytest.raises(StepFailed) as failed:
        driver.run_until_idle()
    assert (failed.value.step, failed.value.offset, failed.value.value) == ("orders", 1, b"{")
    assert failed.value.function == "json.loads"
    assert (driver.outputs, driver.committed) == ([{"id": 1}], {P0: 1})


@pytest.mark.parametrize("codec", [JSON, JSON(dict[str, int]), json.loads])
def test_value_that_cannot_be_decoded_can_be_a_dead_letter(codec: Any) -> None:
    driver = driver_of(decode=codec, on_error=dead_letter(sink(nothing, name="dead")))
    for value in (b'{"a": 1}', b"{", b'{"b": 2}'):
        driver.send(value)
    driver.close()
    assert driver.outputs == [{"a": 1}, {"b": 2}]
    assert [letter.value for letter in driver.dead_letters] == [b"{"]
    assert driver.committed == {P0: 3}


def test_null_value_is_a_failing_record_by_default() -> None:
    driver = driver_of(decode=TEXT)
    driver.send(b"a")
    driver.send(None)
    with pytest.raises(StepFailed, match='tombstones="skip" or "keep"') as failed:
        driver.run_until_idle()
    assert (failed.value.offset, failed.value.value, driver.committed) == (1, None, {P0: 1})


@pytest.mark.parametrize("codec", [None, TEXT])
def test_null_values_can_be_skipped(codec: Any) -> None:
    driver = driver_of(batch(2), decode=codec, tombstones="skip")
    for value in (b"a", None, b"b", None):
        driver.send(value)
    driver.close()
    assert driver.outputs == [["a", "b"] if codec is TEXT else [b"a", b"b"]]
    assert driver.committed == {P0: 4}


@pytest.mark.parametrize("codec", [None, TEXT])
def test_null_values_can_be_kept_and_are_never_decoded(codec: Any) -> None:
    driver = driver_of(decode=codec, tombstones="keep")
    driver.send(b"a")
    driver.send(None)
    driver.close()
    assert driver.outputs == ["a" if codec is TEXT else b"a", None]


def test_skipped_null_values_are_counted_as_filtered() -> None:
    broker = LocalBroker()
    broker.write("t", [b"a", None, None])
    stats = (broker.source("t", group_id="g", tombstones="skip") | sink(nothing)).run(until="end")
    assert (stats.read, stats.filtered, stats.delivered, stats.committed) == (3, 2, 1, {P0: 3})


def test_record_stays_with_its_value_through_steps_that_multiply_and_drop() -> None:
    driver = driver_of(flat_map(lambda v: [v] * int(v)), with_record(), map_(lambda pair: (pair[0], pair[1].offset)))
    for value in (b"2", b"0", b"1"):
        driver.send(value)
    driver.close()
    assert driver.outputs == [(b"2", 0), (b"2", 0), (b"1", 2)]


def test_record_shows_the_raw_value_behind_a_decoder() -> None:
    broker = LocalBroker()
    when = datetime(2024, 5, 1, tzinfo=UTC)
    broker.write("t", [b"[1]"], key=b"k", headers=[("h", b"v")], timestamp=when)
    flow = broker.source("t", decode=JSON) | with_record() | to_list()
    assert flow.run(until="end") == [([1], Record("t", 0, 0, b"k", b"[1]", (("h", b"v"),), when))]


def test_record_is_refused_behind_a_group() -> None:
    grouped: Any = from_iterable([1]) | batch(2)
    with pytest.raises(FlowDefinitionError, match="before the step that groups"):
        grouped | with_record()


def test_records_in_memory_have_no_topic_and_their_index_as_offset() -> None:
    values: list[Any] = (from_iterable("ab") | with_record() | to_list()).run()
    assert values == [("a", Record("", 0, 0, None, "a")), ("b", Record("", 0, 1, None, "b"))]


def test_iterator_runs_once_and_says_so() -> None:
    flow = from_iterable(iter([1])) | to_list()
    assert flow.run() == [1]
    with pytest.raises(FlowDefinitionError, match="cannot be read again"):
        flow.run()


def test_iterable_that_raises_ends_the_run_behind_what_it_gave() -> None:
    def values() -> Any:
        yield from range(5)
        raise OSError("gone")

    seen: list[int] = []
    with pytest.raises(OSError, match="gone"):
        (from_iterable(values) | sink(seen.append)).run()
    assert seen == list(range(5))


def test_decode_as_a_step() -> None:
    assert (from_iterable([b"1", b"x", b"2"]) | decode(int, on_error="skip") | to_list()).run() == [1, 2]
