"""``batch``, ``fold`` and ``unbatch`` at work: what leaves, when, and which offsets go with it."""

from __future__ import annotations

from typing import Any

import pytest

from flowdsl import (
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    batch,
    dead_letter,
    filter_,
    flat_map,
    fold,
    from_iterable,
    map_,
    scan,
    sink,
    take,
    to_list,
    unbatch,
)
from flowdsl.testing import Driver

P0, P1 = Partition(Topic("t"), 0), Partition(Topic("t"), 1)


def driver_of(*operators: Any) -> Driver:
    flow: Any = LocalBroker().source("t", group_id="g")
    return Driver(flow.pipe(*operators, sink(lambda _: None)))


def test_last_group_leaves_with_what_is_there() -> None:
    assert (from_iterable(range(7)) | batch(3) | to_list()).run() == [[0, 1, 2], [3, 4, 5], [6]]
    assert (from_iterable(range(7)) | fold(lambda a, b: a + b, 0, size=3) | to_list()).run() == [3, 12, 6]
    assert (from_iterable(range(0)) | batch(3) | to_list()).run() == []


def test_group_behind_take_leaves_too() -> None:
    assert (from_iterable(range(10)) | take(3) | batch(2) | to_list()).run() == [[0, 1], [2]]
    assert (from_iterable(range(10)) | take(3) | fold(lambda a, b: a + b, 0, size=2) | to_list()).run() == [1, 2]


@pytest.mark.parametrize(
    "operator", [batch(10, within=2.0), fold(lambda seen, v: [*seen, v], list, size=10, within=2.0)]
)
def test_group_leaves_within_seconds_of_its_first_value(operator: Any) -> None:
    driver = driver_of(operator)
    driver.send(b"a")
    driver.advance(1.5)
    driver.send(b"b")
    driver.advance(0.25)
    assert (driver.outputs, driver.committed) == ([], {})
    driver.advance(0.25)
    assert driver.outputs == [[b"a", b"b"]]
    driver.send(b"c")
    driver.advance(1.9)
    assert (driver.outputs, driver.committed) == ([[b"a", b"b"]], {P0: 2})
    driver.advance(0.1)
    assert driver.outputs == [[b"a", b"b"], [b"c"]]


def test_full_group_does_not_leave_again_when_its_time_is_up() -> None:
    driver = driver_of(batch(2, within=1.0))
    driver.send(b"a")
    driver.send(b"b")
    driver.advance(5.0)
    assert driver.outputs == [[b"a", b"b"]]


def test_group_over_partitions_commits_each_to_what_it_completes() -> None:
    driver = driver_of(batch(3))
    for value, partition in ((b"0", 0), (b"1", 1), (b"2", 1), (b"3", 0), (b"4", 1)):
        driver.send(value, partition=partition)
    driver.advance(1.0)
    assert driver.outputs == [[b"0", b"1", b"2"]]
    assert driver.committed == {P0: 1, P1: 2}
    driver.crash()
    driver.restart()
    driver.close()
    assert driver.outputs[1:] == [[b"3", b"4"]]
    assert driver.committed == {P0: 2, P1: 3}


def test_fold_begins_every_group_afresh() -> None:
    driver = driver_of(map_(int), fold(lambda seen, value: (seen.append(value), seen)[1], list, size=2))
    for number in range(5):
        driver.send(str(number).encode())
    driver.close()
    assert driver.outputs == [[0, 1], [2, 3], [4]]
    assert driver.committed == {P0: 5}


def test_filtered_values_behind_a_held_one_wait_with_it() -> None:
    driver = driver_of(filter_(lambda v: v != b"x"), batch(2))
    for value in (b"x", b"a", b"x", b"x"):
        driver.send(value)
    driver.advance(1.0)
    assert driver.committed == {P0: 1}
    driver.send(b"b")
    driver.advance(1.0)
    assert (driver.outputs, driver.committed) == ([[b"a", b"b"]], {P0: 5})


def test_values_of_one_record_in_two_groups_hold_its_offset_until_both_left() -> None:
    driver = driver_of(flat_map(lambda v: [v, v, v]), batch(2))
    driver.send(b"a")
    driver.advance(1.0)
    assert (driver.outputs, driver.committed) == ([[b"a", b"a"]], {})
    driver.send(b"b")
    driver.advance(1.0)
    assert driver.outputs == [[b"a", b"a"], [b"a", b"b"], [b"b", b"b"]]
    assert driver.committed == {P0: 2}


def test_unbatch_moves_offsets_with_the_last_value_of_each() -> None:
    driver = driver_of(batch(2), unbatch(), batch(3))
    for number in range(4):
        driver.send(str(number).encode())
    driver.advance(1.0)
    assert (driver.outputs, driver.committed) == ([[b"0", b"1", b"2"]], {P0: 2})


def test_failed_group_names_its_first_record_and_how_many_there_are() -> None:
    def store(_: object) -> None:
        raise OSError("full")

    driver = driver_of(batch(2), map_(store))
    driver.send(b"a", partition=1)
    driver.send(b"b", partition=0)
    with pytest.raises(StepFailed, match="and the 1 records grouped with it") as failed:
        driver.run_until_idle()
    assert (failed.value.partition, failed.value.offset, failed.value.count) == (1, 0, 2)
    assert failed.value.input == [b"a", b"b"]


def test_groups_of_groups_complete_the_records_of_all_of_them() -> None:
    driver = driver_of(batch(2), batch(2))
    for number in range(7):
        driver.send(str(number).encode())
    driver.advance(1.0)
    assert (driver.outputs, driver.committed) == ([[[b"0", b"1"], [b"2", b"3"]]], {P0: 4})
    driver.close()
    assert driver.outputs[1:] == [[[b"4", b"5"], [b"6"]]]
    assert driver.committed == {P0: 7}


@pytest.mark.parametrize(
    "before", [batch(3) | unbatch(), flat_map(lambda value: [value] * 3)], ids=["unbatch", "flat_map"]
)
def test_record_that_several_values_of_a_group_came_from_fails_once(before: Any) -> None:
    broker = LocalBroker()
    broker.write("t", ["a", "b", "c"])
    source: Any = broker.source("t", group_id="g", decode=bytes.decode)
    flow = source | before | batch(9) | map_(lambda values: 1 / 0) | sink(lambda _: None)
    with pytest.raises(StepFailed) as failed:
        flow.run(until="end")
    assert (failed.value.offset, failed.value.count) == (0, 3)
    letters: list[Any] = []
    flow.run(until="end", on_error=dead_letter(sink(letters.append)))
    assert letters == [b"a", b"b", b"c"]


def test_groups_of_what_came_out_of_groups_do_not_grow() -> None:
    flow: Any = from_iterable(range(8))
    for _ in range(40):
        flow = flow | batch(8) | unbatch() | scan(lambda _, value: value, 0)
    assert (flow | to_list()).run() == list(range(8))
