"""What a run counted: the order of its steps, and how it shows itself."""

from __future__ import annotations

from typing import Any

import pytest

from flowdsl import (
    JSON,
    LocalBroker,
    Stats,
    batch,
    broadcast,
    dead_letter,
    filter_,
    flat_map,
    fold,
    from_iterable,
    map_,
    merge,
    never,
    sink,
)
from flowdsl.flow.stats import StepStats
from flowdsl.types import Partition, Topic


def ignore(_: object) -> None:
    """A sink."""


def no_threes(value: int) -> int:
    if value == 3:
        raise ValueError(value)
    return value


def names(stats: Stats) -> list[str]:
    return [step.name for step in stats.steps]


def test_stats_print_as_a_small_table() -> None:
    steps = (StepStats("parse", 1000, 1000), StepStats("filter_", 1000, 333))
    committed = {Partition(Topic("orders"), 1): 400, Partition(Topic("orders"), 0): 1600}
    stats = Stats(
        read=1000, delivered=333, filtered=667, failed=0, in_flight=2, committed=committed, elapsed=0.5, steps=steps
    )
    assert repr(stats) == str(stats)
    assert repr(stats).splitlines() == [
        "1,000 records read in 0.50 s, 2,000/s",
        "  step     received  emitted",
        "  parse       1,000    1,000",
        "  filter_     1,000      333",
        "  delivered 333, filtered 667, failed 0, in flight 2",
        "  committed orders[0] 1,600, orders[1] 400",
    ]


def test_stats_of_nothing_print_without_dividing_by_zero() -> None:
    empty = Stats(read=0, delivered=0, filtered=0, failed=0, in_flight=0, committed={}, elapsed=0.0, steps=())
    assert repr(empty).splitlines() == [
        "0 records read in 0.00 s",
        "  delivered 0, filtered 0, failed 0, in flight 0",
        "  committed nothing",
    ]


def test_stats_show_themselves_in_a_notebook_escaped() -> None:
    steps = (StepStats("<b>", 1, 1),)
    html = Stats(
        read=1, delivered=1, filtered=0, failed=0, in_flight=0, committed={}, elapsed=1.0, steps=steps
    )._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_steps_stand_in_the_order_of_the_plan() -> None:
    flow = (
        from_iterable(range(6))
        | map_(no_threes)
        | broadcast(map_(str) | batch(2) | sink(ignore, name="first"), filter_(bool) | sink(ignore, name="second"))
    )
    stats = flow.run(on_error="skip")
    assert names(stats) == ["from_iterable", "no_threes", "broadcast", "str", "batch", "first", "bool", "second"]


def test_dead_letters_of_a_step_stand_behind_it_and_those_of_the_run_last() -> None:
    flow = (
        from_iterable(range(6))
        | map_(no_threes, on_error=dead_letter(sink(ignore, name="own")))
        | map_(lambda n: 1 // n, name="invert")
        | sink(ignore, name="main")
    )
    stats = flow.run(on_error=dead_letter(sink(ignore, name="shared")))
    assert names(stats) == ["from_iterable", "no_threes", "own", "invert", "main", "shared"]
    assert {step.name: step.received for step in stats.steps} == {
        "from_iterable": 6,
        "no_threes": 6,
        "own": 1,
        "invert": 5,
        "main": 4,
        "shared": 1,
    }


def test_values_in_memory_are_counted_for_the_only_source() -> None:
    stats = (from_iterable(range(5)) | sink(ignore)).run()
    assert stats.steps[0] == StepStats("from_iterable", 5, 5)
    merged = (merge(from_iterable([1]), from_iterable([2, 3])) | sink(ignore)).run()
    assert names(merged) == ["ignore"]


def test_source_that_drops_null_values_counts_them() -> None:
    broker = LocalBroker()
    broker.write("orders", [b"1", None, b"2"])
    source = broker.source("orders", group_id="g", decode=JSON, tombstones="skip")
    stats = (source | sink(ignore)).run(until="end", commit=never)
    assert stats.steps[0] == StepStats("source", 3, 2)
    assert (stats.read, stats.filtered, stats.delivered) == (3, 1, 2)


def test_delivered_counts_what_sinks_of_branches_got_once() -> None:
    flow = from_iterable(range(4)) | broadcast(sink(ignore), batch(2) | sink(ignore))
    assert flow.run().delivered == 4 + 2


@pytest.mark.parametrize(
    ("step", "emitted", "filtered"),
    [
        (map_(no_threes), 4, 0),
        (map_(no_threes, concurrency=2), 4, 0),
        (filter_(lambda value: no_threes(value) > 1), 2, 2),
        (filter_(lambda value: no_threes(value) > 1, concurrency=2), 2, 2),
        (flat_map(lambda value: [no_threes(value)] * 2, concurrency=2), 8, 0),
        (fold(lambda total, value: total + no_threes(value), 0, size=2), 2, 0),
    ],
)
def test_value_that_fails_was_received_and_is_not_filtered(step: Any, emitted: int, filtered: int) -> None:
    stats = (from_iterable([0, 1, 2, 3, 4]) | step | sink(ignore)).run(on_error="skip")
    assert (stats.steps[1].received, stats.steps[1].emitted) == (5, emitted)
    assert (stats.filtered, stats.failed, stats.delivered) == (filtered, 1, emitted)


def test_dead_letter_counts_as_failed_and_not_as_delivered() -> None:
    flow = from_iterable(range(6)) | map_(no_threes) | sink(ignore)
    stats = flow.run(on_error=dead_letter(sink(ignore)))
    assert (stats.read, stats.delivered, stats.failed) == (6, 5, 1)


def test_sinks_of_one_name_in_the_flow_and_in_its_dead_letters_do_not_mix() -> None:
    main: list[Any] = []
    dead: list[Any] = []
    flow = from_iterable(range(6)) | map_(no_threes) | sink(main.append)
    flow.run(on_error=dead_letter(sink(dead.append)))
    assert (main, dead) == ([0, 1, 2, 4, 5], [3])


def test_records_that_a_step_holds_are_in_flight_until_they_are_done() -> None:
    broker = LocalBroker()
    broker.write("orders", [b"1", b"2", b"3"])
    held = batch(10) | sink(ignore)
    with (broker.source("orders", group_id="g") | held).start() as handle:
        while handle.stats.read < 3:
            assert not handle.join(0.005)
        assert (handle.stats.in_flight, handle.stats.delivered) == (3, 0)
    stats = handle.result()
    assert (stats.read, stats.in_flight, stats.delivered) == (3, 0, 1)
    assert stats.committed == broker.committed("g") == {Partition(Topic("orders"), 0): 3}


def test_elapsed_stands_still_once_the_run_is_over() -> None:
    handle = (from_iterable([1]) | sink(ignore)).start()
    stats = handle.result(60.0)
    assert 0.0 < stats.elapsed == handle.stats.elapsed


def test_fields_are_those_of_the_contract() -> None:
    stats = (from_iterable(range(4)) | filter_(lambda n: n % 2, name="odd") | sink(ignore)).run()
    assert [stats.read, stats.delivered, stats.filtered, stats.failed, stats.in_flight] == [4, 2, 2, 0, 0]
    assert stats.committed == {}
    assert [(step.name, step.received, step.emitted) for step in stats.steps] == [
        ("from_iterable", 4, 4),
        ("odd", 4, 2),
        ("ignore", 2, 2),
    ]
