"""``flow.preview(n)``: what comes out of each step, without group, commit or sink."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Never

import pytest

from flowdsl import (
    JSON,
    FlowDefinitionError,
    LocalBroker,
    batch,
    broadcast,
    dead_letter,
    filter_,
    flat_map,
    fold,
    from_iterable,
    last,
    map_,
    merge,
    route,
    sink,
    take,
    tap,
    through,
    to_list,
)
from flowdsl.strategies import Message, RunTask


def refused(*_: object) -> Never:
    raise AssertionError("a preview runs no sink")


class Refusing:
    """A sink that must not be touched."""

    open = write = flush = close = refused


def invert(value: int) -> float:
    return 1 / value


def column(preview: Any, name: str) -> list[str]:
    at = preview.columns.index(name)
    return [row[at] for row in preview.rows]


def orders(count: int = 5) -> LocalBroker:
    broker = LocalBroker()
    broker.write("orders", [{"id": number} for number in range(count)], encode=JSON)
    return broker


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_every_step_has_a_column_and_every_record_a_row() -> None:
    flow = from_iterable("abc") | map_(str.upper) | map_(ord)
    preview = flow.preview()
    assert preview.columns == ("record", "from_iterable", "upper", "ord")
    assert preview.rows == (("0", "'a'", "'A'", "65"), ("1", "'b'", "'B'", "66"), ("2", "'c'", "'C'", "67"))


def test_preview_prints_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    flow = from_iterable(range(5)) | filter_(lambda n: n != 1, name="keep") | map_(lambda n: 6 // (n - 3)) | batch(2)
    assert repr(flow.preview()).splitlines() == [
        "5 records; nothing was committed, and no sink was called",
        "  record  from_iterable  keep  map_                            batch",
        "  0       0              0     -2                              ...",
        "  1       1              -",
        "  2       2              2     -6                              [-2, -6]",
        "  3       3              3     ! ZeroDivisionError: intege...",
        "  4       4              4     6                               [6]",
        "  - nothing came out of the step",
        "  ... in a group, which is shown at its last record",
        "  ! 3, map_: ZeroDivisionError: integer division or modulo by zero",
    ]


def test_preview_shows_itself_in_a_notebook_escaped() -> None:
    html = (from_iterable(["<script>alert(1)</script>"]) | map_(str.title, name="<b>")).preview()._repr_html_()
    assert "<script" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html


def test_long_and_broken_values_are_shortened() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    rows = from_iterable(["x" * 10_000, Broken()]).preview().rows
    assert len(rows[0][1]) == 200
    assert rows[1][1] == "<Broken whose repr raises ValueError>"


def test_value_is_shown_as_it_was_when_it_came_out() -> None:
    flow = from_iterable(lambda: [{"a": 1}]) | map_(lambda value: value) | tap(lambda value: value.clear())
    preview = flow.preview()
    assert column(preview, "map_") == ["{'a': 1}"]
    assert column(preview, "tap") == ["{}"]


def test_value_that_becomes_several_shows_them_all() -> None:
    preview = (from_iterable(["a b", "", "c"]) | flat_map(str.split) | map_(str.upper)).preview()
    assert column(preview, "split") == ["'a', 'b'", "-", "'c'"]
    assert column(preview, "upper") == ["'A', 'B'", "", "'C'"]


def test_group_of_groups_stands_at_the_record_that_completed_it() -> None:
    flow = from_iterable(range(5)) | fold(lambda total, n: total + n, 0, size=2, name="sums") | batch(2) | map_(len)
    preview = flow.preview()
    assert column(preview, "sums") == ["...", "1", "...", "5", "4"]
    assert column(preview, "batch") == ["", "...", "", "[1, 5]", "[4]"]
    assert column(preview, "len") == ["", "", "", "2", "1"]


def test_group_that_fails_shows_the_error_at_each_of_its_records() -> None:
    preview = (from_iterable(range(4)) | batch(2) | map_(lambda group: 1 // group[0])).preview()
    assert column(preview, "batch") == ["...", "[0, 1]", "...", "[2, 3]"]
    assert [cell.partition(":")[0] for cell in column(preview, "map_")] == ["ZeroDivisionError"] * 2 + ["", "0"]


def test_branches_have_columns_and_the_route_tells_the_way() -> None:
    ways = {0: map_(str, name="even") | sink(refused), 1: filter_(lambda n: n > 1, name="odd") | sink(Refusing())}
    preview = (from_iterable(range(4)) | route(lambda n: n % 2, ways)).preview()
    assert preview.columns == ("record", "from_iterable", "route", "even", "odd")
    assert column(preview, "route") == ["to 0", "to 1", "to 0", "to 1"]
    assert column(preview, "even") == ["'0'", "", "'2'", ""]
    assert column(preview, "odd") == ["", "-", "", "3"]


def test_steps_behind_open_branches_see_what_leaves_all_of_them() -> None:
    preview = (from_iterable([1]) | broadcast(map_(str), map_(float)) | map_(repr)).preview()
    assert preview.columns == ("record", "from_iterable", "broadcast", "str", "float", "repr")
    assert preview.rows == (("0", "1", "to 1, 2", "'1'", "1.0", "\"'1'\", '1.0'"),)


def test_merged_flows_have_columns_of_their_own() -> None:
    preview = (
        merge(from_iterable("ab", name="left") | map_(ord), from_iterable("c", name="right")) | map_(str)
    ).preview()
    assert preview.columns == ("record", "left", "ord", "right", "str")
    assert sorted(preview.rows) == [
        ("0", "", "", "'c'", "'c'"),
        ("0", "'a'", "97", "", "'97'"),
        ("1", "'b'", "98", "", "'98'"),
    ]


def test_record_that_cannot_be_decoded_and_null_that_nobody_keeps_show_the_error() -> None:
    broker = LocalBroker()
    broker.write("orders", [b"1", b"{", None])
    preview = (broker.source("orders", decode=JSON) | map_(str)).preview()
    assert [row[0] for row in preview.rows] == ["orders[0] 0", "orders[0] 1", "orders[0] 2"]
    assert [cell.partition(":")[0] for cell in column(preview, "source")] == ["1", "DecodeError", "ValueError"]
    assert column(preview, "str") == ["'1'", "", ""]


def test_skipped_null_shows_that_nothing_came_out() -> None:
    broker = LocalBroker()
    broker.write("orders", [b"1", None])
    assert column(broker.source("orders", decode=JSON, tombstones="skip").preview(), "source") == ["1", "-"]


# -- what it does not do ----------------------------------------------------------------------------------------------


def test_nothing_is_committed_produced_or_written() -> None:
    broker = orders()
    flow = (
        broker.source("orders", group_id="g", decode=JSON)
        | map_(lambda order: order["id"], name="id")
        | map_(invert, on_error=dead_letter(broker.sink("dead")))
        | broadcast(broker.sink("out", encode=JSON), sink(Refusing()), sink(refused))
    )
    preview = flow.preview()
    assert column(preview, "invert")[0] == "ZeroDivisionError: division by zero"
    assert broker.topics() == {"orders": 1}
    assert broker.committed("g") == {}
    assert flow.plan == flow.plan


def test_preview_changes_nothing_for_the_run_that_follows() -> None:
    broker = orders()
    flow = broker.source("orders", group_id="g", decode=JSON) | map_(lambda order: order["id"]) | to_list()
    assert len(flow.preview(3)) == 3
    assert flow.run(until="end") == [0, 1, 2, 3, 4]


def test_policy_of_a_step_does_not_hide_its_failures() -> None:
    preview = (from_iterable([0]) | map_(invert, on_error="skip") | map_(str)).preview()
    assert column(preview, "invert") == ["ZeroDivisionError: division by zero"]


def test_flow_with_faults_is_refused() -> None:
    flow = from_iterable([1]) | broadcast(take(1) | sink(refused), sink(refused))
    with pytest.raises(FlowDefinitionError, match="take ends the whole run"):
        flow.preview()


# -- how much is read -------------------------------------------------------------------------------------------------


def test_no_more_than_n_records_are_read() -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    assert len((from_iterable(numbers) | map_(str)).preview(7)) == 7
    assert read == [*range(7)]


def test_topic_with_fewer_records_than_n_ends_the_preview() -> None:
    assert len(orders(3).source("orders").preview(100)) == 3


def test_all_partitions_are_read() -> None:
    broker = LocalBroker(partitions=3)
    for partition in range(3):
        broker.write("orders", [b"x"], partition=partition)
    labels = {row[0] for row in broker.source("orders").preview().rows}
    assert labels == {"orders[0] 0", "orders[1] 0", "orders[2] 0"}


def test_empty_topic_says_so() -> None:
    broker = LocalBroker()
    broker.create_topic("orders")
    preview = (broker.source("orders") | map_(len)).preview()
    assert repr(preview) == "no records: there is nothing to read in orders now"
    assert len(preview) == 0


def test_flow_that_waits_for_what_comes_shows_the_latest_records() -> None:
    preview = orders(10).source("orders", start="latest", decode=JSON).preview(2)
    assert column(preview, "source") == ["{'id': 8}", "{'id': 9}"]


def test_start_of_the_source_is_kept() -> None:
    preview = orders(10).source("orders", start=last(3), decode=JSON).preview(2)
    assert column(preview, "source") == ["{'id': 7}", "{'id': 8}"]


def test_class_that_gives_an_iterator_is_called_for_each_preview() -> None:
    source: Any = itertools.count  # a class whose instances are iterators, and itself none
    flow = from_iterable(source)
    assert column(flow.preview(2), "from_iterable") == column(flow.preview(2), "from_iterable") == ["0", "1"]


def test_take_ends_the_preview() -> None:
    preview = (from_iterable(lambda: range(100)) | take(2) | map_(str)).preview()
    assert [cell for cell in column(preview, "str") if cell] == ["'0'", "'1'"]


def test_iterator_is_not_used_up() -> None:
    values = iter([1, 2, 3])
    flow = from_iterable(values) | map_(str)
    with pytest.raises(FlowDefinitionError, match="a preview would use up its iterator"):
        flow.preview()
    assert (flow | to_list()).run() == ["1", "2", "3"]


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("3", TypeError)])
def test_n_below_1_or_no_number_is_refused(n: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="n must be"):
        from_iterable([1]).preview(n)


# -- hand-written strategies ------------------------------------------------------------------------------------------


def inverted(message: Message[int]) -> float:
    return invert(message.payload)


class Inverting:
    """One function in a strategy of arroyo's kind."""

    def create_with_partitions(self, commit: object, partitions: object, downstream: Any) -> Any:
        return RunTask(inverted, downstream)


def test_hand_written_strategy_has_a_column() -> None:
    preview = (from_iterable([1, 2]) | through(Inverting()) | map_(str)).preview()
    assert preview.rows == (("0", "1", "1.0", "'1.0'"), ("1", "2", "0.5", "'0.5'"))


def test_hand_written_strategy_that_raises_ends_the_preview_at_that_record() -> None:
    preview = (from_iterable([1, 0, 2]) | through(Inverting())).preview()
    assert column(preview, "through")[1] == "ZeroDivisionError: division by zero"
