"""``route``, ``broadcast`` and ``merge`` at work: who gets what, and that offsets wait for the slowest branch."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flowdsl import (
    FlowDefinitionError,
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    batch,
    broadcast,
    filter_,
    from_iterable,
    map_,
    merge,
    route,
    sink,
    to_list,
)
from flowdsl.testing import Driver

P0 = Partition(Topic("t"), 0)


def source() -> Any:
    return LocalBroker().source("t", group_id="g", decode=bytes.decode)


def ends(name: str) -> Any:
    return sink(lambda _: None, name=name)


def send(driver: Driver, *values: str) -> None:
    for value in values:
        driver.send(value)
    driver.advance(1.0)


def test_route_hands_each_value_to_the_branch_of_its_key() -> None:
    driver = Driver(source() | route(len, {1: ends("short"), 2: ends("long")}, default=ends("other")))
    send(driver, "a", "bb", "c", "ddd", "ee")
    assert driver.outputs == {"short": ["a", "c"], "long": ["bb", "ee"], "other": ["ddd"]}
    assert driver.committed == {P0: 5}


def test_unknown_key_without_default_is_a_failing_record() -> None:
    driver = Driver(source() | route(len, {1: ends("short"), 2: ends("long")}))
    driver.send("a")
    driver.send("ddd")
    with pytest.raises(
        StepFailed, match="no branch for the key 3, and no default; there are branches for 1, 2"
    ) as failed:
        driver.run_until_idle()
    assert (failed.value.offset, failed.value.step) == (1, "len")
    assert driver.committed == {P0: 1}


def test_unknown_key_can_be_skipped() -> None:
    driver = Driver(source() | route(len, {1: ends("short"), 2: ends("long")}, on_error="skip"))
    send(driver, "a", "ddd", "bb")
    assert (driver.outputs, driver.committed) == ({"short": ["a"], "long": ["bb"]}, {P0: 3})


def test_open_branches_go_on_together() -> None:
    driver = Driver(source() | route(str.isdigit, {True: map_(int), False: map_(str.upper)}) | ends("all"))
    send(driver, "a", "1", "b", "2")
    assert sorted(driver.outputs, key=str) == [1, 2, "A", "B"]
    assert [value for value in driver.outputs if isinstance(value, str)] == ["A", "B"]
    assert driver.committed == {P0: 4}


def test_group_in_one_branch_holds_the_offsets_of_all() -> None:
    driver = Driver(source() | route(str.isdigit, {True: batch(2) | ends("groups"), False: ends("rest")}))
    send(driver, "a", "1", "b", "c")
    assert (driver.outputs, driver.committed) == ({"groups": [], "rest": ["a", "b", "c"]}, {P0: 1})
    send(driver, "2")
    assert (driver.outputs["groups"], driver.committed) == ([["1", "2"]], {P0: 5})


def test_broadcast_commits_when_all_branches_are_done() -> None:
    driver = Driver(source() | broadcast(batch(3) | ends("groups"), filter_(str.isdigit) | ends("digits"), ends("all")))
    send(driver, "a", "1")
    assert driver.outputs == {"groups": [], "digits": ["1"], "all": ["a", "1"]}
    assert driver.committed == {}
    send(driver, "b", "c")
    assert (driver.outputs["groups"], driver.committed) == ([["a", "1", "b"]], {P0: 3})
    driver.close()
    assert (driver.outputs["groups"][1:], driver.committed) == ([["c"]], {P0: 4})


def test_open_broadcast_joins_the_groups_that_are_open() -> None:
    flow: Any = from_iterable([1, 2, 3]) | broadcast(batch(2), map_(str)) | to_list()
    assert sorted(flow.run(), key=str) == sorted([[1, 2], [3], "1", "2", "3"], key=str)


def test_branch_that_rejects_holds_its_values_and_loses_none() -> None:
    driver = Driver(source() | broadcast(map_(str.upper, name="up") | ends("a"), ends("b")))
    driver.reject_next("up")
    send(driver, "x", "y", "z")
    assert (driver.outputs, driver.committed) == ({"a": ["X", "Y", "Z"], "b": ["x", "y", "z"]}, {P0: 3})


def test_failure_in_one_branch_commits_what_all_have_done() -> None:
    driver = Driver(source() | broadcast(map_(int) | ends("numbers"), ends("all")))
    for value in ("1", "2", "x", "3"):
        driver.send(value)
    with pytest.raises(StepFailed) as failed:
        driver.run_until_idle()
    assert (failed.value.offset, driver.committed) == (2, {P0: 2})
    assert driver.outputs["numbers"] == [1, 2]


def test_branches_within_branches() -> None:
    inner = broadcast(map_(str.upper), map_(str.lower))
    driver = Driver(source() | route(len, {1: inner, 2: map_(str)}) | batch(3) | ends("all"))
    send(driver, "a", "bb")
    assert (driver.outputs, driver.committed) == ([["A", "a", "bb"]], {P0: 2})


def test_closed_and_open_branches_do_not_mix() -> None:
    mixed: Any = broadcast(ends("a"), map_(str))
    with pytest.raises(FlowDefinitionError, match="either all branches end in a sink or none does"):
        source() | mixed


def test_branches_get_lists_of_their_own() -> None:
    copies: Any = broadcast(map_(list), map_(list))
    flow: Any = from_iterable([[1]]) | copies | to_list()
    one, other = flow.run()
    assert one is not other


def test_merge_keeps_the_order_within_each_source() -> None:
    flow: Any = merge(from_iterable(range(500)) | map_(str), from_iterable(range(500))) | to_list()
    values = flow.run()
    assert [value for value in values if isinstance(value, int)] == list(range(500))
    assert [value for value in values if isinstance(value, str)] == [str(n) for n in range(500)]


def test_group_in_one_merged_flow_holds_its_own_records() -> None:
    broker = LocalBroker()
    grouped = broker.source("a", group_id="g") | batch(2) | map_(b"".join)
    driver = Driver(merge(grouped, broker.source("b", group_id="g")) | ends("all"))
    driver.send(b"1", topic="a")
    driver.send(b"2", topic="b")
    driver.advance(1.0)
    assert (driver.outputs, driver.committed) == ([b"2"], {})
    driver.send(b"3", topic="a")
    driver.advance(1.0)
    assert driver.outputs == [b"2", b"13"]
    assert driver.committed == {Partition(Topic("a"), 0): 2, Partition(Topic("b"), 0): 1}


def test_topic_of_several_merged_flows_is_read_once_and_goes_through_all_of_them() -> None:
    broker = LocalBroker()
    broker.write("orders", ["1", "2"])
    broker.write("refunds", ["3"])
    orders = broker.source("orders", group_id="g", decode=int) | map_(lambda n: -n)
    both = broker.source(["orders", "refunds"], group_id="g") | map_(bytes.decode)
    named = broker.source(re.compile("re.*"), group_id="g") | filter_(lambda value: value == b"3")
    flow: Any = merge(orders, both, named) | to_list()
    assert sorted(flow.run(until="end"), key=repr) == sorted([-1, -2, "1", "2", "3", b"3"], key=repr)
    assert sum(broker.committed("g").values()) == 3


def test_record_of_several_merged_flows_is_done_when_the_last_of_them_is() -> None:
    broker = LocalBroker()
    source = broker.source("a", group_id="g")
    driver = Driver(merge(source, source | batch(2, within=10.0)) | ends("all"))
    driver.send(b"1", topic="a")
    driver.advance(5.0)
    assert (driver.outputs, driver.committed) == ([b"1"], {})
    driver.advance(10.0)
    assert (driver.outputs, driver.committed) == ([b"1", [b"1"]], {Partition(Topic("a"), 0): 1})


def test_patterns_of_merged_flows_keep_their_flags() -> None:
    broker = LocalBroker()
    for topic in ("a1", "A2", "b1", "B2"):
        broker.write(topic, [topic])
    patterns = [re.compile("(?i)a.*"), re.compile("b   .* # those of the north", re.VERBOSE)]
    flow: Any = merge(*(broker.source(pattern, group_id="g") for pattern in patterns)) | to_list()
    assert sorted(flow.run(until="end")) == [b"A2", b"a1", b"b1"]
