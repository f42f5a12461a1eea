"""The driver runs the real flow: what it shows of outputs, commits, time, rebalances and crashes is what users get."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
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
    dead_letter,
    every,
    filter_,
    from_iterable,
    immediately,
    map_,
    merge,
    never,
    sink,
    tap,
    to_list,
    with_record,
)
from flowdsl.testing import Driver, VirtualClock

ORDERS = Partition(Topic("orders"), 0)
SECOND = Partition(Topic("orders"), 1)
MEMORY = Partition(Topic(""), 0)


def orders(*operators: Any, **given: Any) -> Any:
    flow: Any = LocalBroker().source(given.pop("topics", "orders"), group_id="g", **given)
    return flow.pipe(*operators)


def nothing(_: object) -> None:
    pass


def test_records_are_processed_when_the_driver_is_told_to() -> None:
    driver = Driver(orders(map_(bytes.decode), sink(nothing)))
    driver.send(b"a")
    driver.send("b")
    assert (driver.outputs, driver.in_flight) == ([], 0)
    driver.run_until_idle()
    assert driver.outputs == ["a", "b"]


def test_users_sink_is_called_and_recorded() -> None:
    got: list[bytes] = []
    driver = Driver(orders(sink(got.append)))
    driver.send(b"a")
    driver.run_until_idle()
    assert got == driver.outputs == [b"a"]


def test_commits_follow_the_policy_in_virtual_time() -> None:
    driver = Driver(orders(sink(nothing)))
    driver.send(b"a")
    driver.run_until_idle()
    assert driver.committed == {}
    driver.advance(0.5)
    assert driver.committed == {}
    driver.advance(0.5)
    assert driver.committed == {ORDERS: 1}


@pytest.mark.parametrize(
    ("policy", "sent", "committed"), [(immediately, 1, 1), (every(messages=3), 2, None), (never, 5, None)]
)
def test_commit_policy_of_the_driver_is_kept(policy: Any, sent: int, committed: int | None) -> None:
    driver = Driver(orders(sink(nothing)), commit=policy)
    for _ in range(sent):
        driver.send(b"a")
    driver.run_until_idle()
    assert driver.committed.get(ORDERS) == committed


def test_deadlines_fire_at_their_exact_moment() -> None:
    clock = VirtualClock()
    left: list[tuple[float, list[bytes]]] = []
    flow = orders(batch(10, within=0.75), sink(lambda group: left.append((clock(), group))))
    driver = Driver(flow, clock=clock)
    driver.advance(0.5)
    driver.send(b"a")
    driver.advance(0.5)
    driver.send(b"b")
    driver.advance(100.0)
    assert left == [(1.25, [b"a", b"b"])]
    assert clock() == 101.0


def test_time_stands_still_outside_advance() -> None:
    driver = Driver(orders(map_(bytes.decode), sink(nothing)))
    driver.reject_next("decode")
    driver.send(b"a")
    driver.run_until_idle()
    driver.close()
    assert driver.clock() == 0.0


def test_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match="seconds must not be negative, but is -1"):
        Driver(orders(sink(nothing))).advance(-1)


def test_held_records_are_in_flight_and_not_committed() -> None:
    driver = Driver(orders(batch(3), sink(nothing)))
    driver.send(b"a")
    driver.send(b"b")
    driver.advance(10.0)
    assert (driver.in_flight, driver.outputs, driver.committed) == (2, [], {})
    driver.send(b"c")
    driver.advance(1.0)
    assert (driver.in_flight, driver.outputs, driver.committed) == (0, [[b"a", b"b", b"c"]], {ORDERS: 3})


def test_close_drains_commits_and_ends() -> None:
    driver = Driver(orders(batch(3), sink(nothing)))
    driver.send(b"a")
    driver.close()
    assert (driver.outputs, driver.committed) == ([[b"a"]], {ORDERS: 1})
    driver.send(b"b")
    driver.run_until_idle()
    assert driver.outputs == [[b"a"]]
    driver.close()


def test_crash_forgets_what_is_in_memory_and_restart_reads_it_again() -> None:
    driver = Driver(orders(batch(2), sink(nothing)))
    for value in (b"0", b"1", b"2"):
        driver.send(value)
    driver.advance(1.0)
    assert driver.committed == {ORDERS: 2}
    driver.crash()
    assert (driver.in_flight, driver.committed) == (0, {ORDERS: 2})
    driver.send(b"3")
    driver.advance(5.0)
    assert driver.outputs == [[b"0", b"1"]]
    driver.restart()
    driver.run_until_idle()
    assert driver.outputs == [[b"0", b"1"], [b"2", b"3"]]


def test_uncommitted_outputs_are_repeated_after_a_crash() -> None:
    driver = Driver(orders(sink(nothing)))
    driver.send(b"0")
    driver.run_until_idle()
    driver.crash()
    driver.restart()
    driver.run_until_idle()
    assert driver.outputs == [b"0", b"0"]


def test_error_is_raised_by_the_call_that_made_it_happen_and_once() -> None:
    driver = Driver(orders(map_(int), sink(nothing)))
    driver.send(b"1")
    driver.send(b"x")
    with pytest.raises(StepFailed) as failed:
        driver.run_until_idle()
    assert (failed.value.offset, failed.value.topic) == (1, "orders")
    assert (driver.outputs, driver.committed) == ([1], {ORDERS: 1})
    driver.close()
    driver.restart()
    with pytest.raises(StepFailed):
        driver.close()


def test_group_that_fails_while_it_is_drained_is_raised_by_close() -> None:
    def fail(_: object) -> None:
        raise OSError("full")

    driver = Driver(orders(batch(5), sink(fail)))
    driver.send(b"a")
    driver.run_until_idle()
    with pytest.raises(StepFailed, match="full"):
        driver.close()
    assert driver.committed == {}


def test_policy_for_failing_records_can_be_given() -> None:
    broker = LocalBroker()
    flow = orders(map_(int), sink(nothing))
    driver = Driver(flow, on_error=dead_letter(broker.sink("dead")))
    driver.send(b"1", key=b"k")
    driver.send(b"x", key="m", headers=[("a", b"1"), ("b", None)])
    driver.advance(1.0)
    (letter,) = driver.dead_letters
    assert (letter.key, letter.value, letter.offset, letter.topic) == (b"m", b"x", 1, "orders")
    assert letter.headers[:2] == (("a", b"1"), ("b", None))
    assert dict(letter.headers)["flowdsl-exception"] == b"ValueError"
    assert (driver.outputs, driver.committed) == ([1], {ORDERS: 2})
    assert broker.topics() == {}


def test_rejected_message_is_offered_again() -> None:
    calls: list[bytes] = []
    driver = Driver(orders(tap(calls.append, name="look"), batch(2), map_(list, name="copy"), sink(nothing)))
    driver.reject_next("look")
    driver.reject_next("copy")
    for value in (b"0", b"1", b"2", b"3"):
        driver.send(value)
    driver.advance(1.0)
    assert calls == [b"0", b"1", b"2", b"3"]
    assert (driver.outputs, driver.committed) == ([[b"0", b"1"], [b"2", b"3"]], {ORDERS: 4})


def test_rejection_of_an_unknown_step_names_those_that_exist() -> None:
    driver = Driver(orders(map_(int), sink(nothing)))
    with pytest.raises(ValueError, match=r"not 'parse'; there are .*int, nothing"):
        driver.reject_next("parse")


def test_all_partitions_sent_to_are_assigned() -> None:
    driver = Driver(orders(sink(nothing)), commit=immediately)
    driver.send(b"a", partition=1)
    driver.send(b"b", partition=0)
    driver.send(b"c", partition=SECOND)
    driver.run_until_idle()
    assert driver.outputs == [b"a", b"b", b"c"]
    assert driver.committed == {ORDERS: 1, SECOND: 2}


def test_only_what_was_assigned_is_read_once_assign_was_called() -> None:
    driver = Driver(orders(sink(nothing)))
    driver.assign(1)
    driver.send(b"a", partition=0)
    driver.send(b"b", partition=1)
    driver.run_until_idle()
    assert driver.outputs == [b"b"]
    driver.assign(ORDERS)
    driver.run_until_idle()
    assert driver.outputs == [b"b", b"a"]


def test_revocation_drains_commits_and_ends_reading() -> None:
    driver = Driver(orders(batch(10), sink(nothing)))
    driver.send(b"a")
    driver.send(b"b", partition=1)
    driver.run_until_idle()
    driver.revoke(1)
    assert (driver.outputs, driver.committed) == ([[b"a", b"b"]], {ORDERS: 1, SECOND: 1})
    driver.send(b"c", partition=1)
    driver.send(b"d")
    driver.close()
    assert (driver.outputs[1:], driver.committed) == ([[b"d"]], {ORDERS: 2, SECOND: 1})


def test_revoked_partition_goes_on_where_it_was_committed() -> None:
    driver = Driver(orders(sink(nothing)))
    driver.send(b"a")
    driver.run_until_idle()
    driver.revoke(0)
    driver.send(b"b")
    driver.assign(0)
    driver.run_until_idle()
    assert driver.outputs == [b"a", b"b"]


def test_partitions_that_are_added_leave_a_group_open() -> None:
    driver = Driver(orders(batch(3), sink(nothing)))
    driver.assign(0)
    driver.send(b"a")
    driver.send(b"b")
    driver.run_until_idle()
    driver.assign(1)
    driver.run_until_idle()
    assert (driver.outputs, driver.in_flight) == ([], 2)
    driver.send(b"c", partition=1)
    driver.close()
    assert (driver.outputs, driver.committed) == ([[b"a", b"b", b"c"]], {ORDERS: 2, SECOND: 1})


def test_failure_in_the_drain_of_a_revocation_ends_the_flow() -> None:
    def fail(_: object) -> None:
        raise OSError("full")

    driver = Driver(orders(batch(10), sink(fail)))
    driver.send(b"a")
    driver.run_until_idle()
    with pytest.raises(StepFailed, match="full"):
        driver.revoke(0)
    assert driver.committed == {}


def test_values_of_an_iterable_are_replaced_by_what_is_sent() -> None:
    def never_read() -> list[int]:
        raise AssertionError

    driver = Driver(from_iterable(never_read) | map_(lambda n: n + 1) | to_list())
    driver.send(1)
    driver.send(2)
    driver.close()
    assert (driver.outputs, driver.committed) == ([2, 3], {MEMORY: 2})


def test_merged_flows_get_what_is_sent_to_their_topic_or_number() -> None:
    broker = LocalBroker()
    flow = merge(broker.source("a", group_id="g") | map_(bytes.decode), broker.source("b", group_id="g")) | sink(
        nothing
    )
    driver = Driver(flow)
    driver.send(b"1", topic="a")
    driver.send(b"2", topic="b")
    driver.close()
    assert driver.outputs == ["1", b"2"]
    in_memory = Driver(merge(from_iterable([0]) | map_(str), from_iterable([0])) | to_list())
    in_memory.send(1, partition=0)
    in_memory.send(2, partition=1)
    in_memory.close()
    assert in_memory.outputs == ["1", 2]
    with pytest.raises(ValueError, match="partition must be below 2"):
        in_memory.send(3, partition=2)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"topic": "other"}, ValueError, "topic must be one that the flow reads, not 'other'; it reads 'a', 'b'"),
        ({}, ValueError, "topic must be given, or a Partition, since the flow reads 'a', 'b'"),
        ({"topic": "a", "partition": -1}, ValueError, "partition must be at least 0, but is -1"),
        ({"topic": "a", "partition": "0"}, TypeError, "partition must be a number or a Partition, not '0'"),
        ({"topic": "a", "key": 5}, TypeError, "a record's key must be bytes or str, not 5"),
        ({"topic": "a", "at": datetime(2024, 1, 1)}, ValueError, "at must be aware"),  # noqa: DTZ001  # that is refused
        ({"topic": "a", "at": "noon"}, TypeError, "at must be a number of seconds or a timedelta, not 'noon'"),
        ({"topic": "a", "at": float("nan")}, ValueError, "at must be a number of seconds"),
        ({"topic": "a", "headers": {"a": b"1"}}, TypeError, "headers must be pairs"),
    ],
)
def test_record_that_cannot_be_is_refused(given: dict[str, Any], error: type[Exception], text: str) -> None:
    driver = Driver(orders(sink(nothing), topics=["a", "b"]))
    with pytest.raises(error, match=text):
        driver.send(b"", **given)


def test_broker_flow_takes_raw_values_alone() -> None:
    driver = Driver(orders(sink(nothing)))
    with pytest.raises(
        TypeError, match=r"value must be what the broker would have: bytes, a text or None, not \{'id': 1\}"
    ):
        driver.send({"id": 1})


def test_record_carries_what_was_sent() -> None:
    driver = Driver(orders(with_record(), sink(nothing)))
    driver.advance(2.0)
    driver.send(b"a", key="k", headers=[("h", "v")])
    driver.send(b"b", at=0.5)
    driver.send(b"c", at=datetime(2000, 1, 1, tzinfo=UTC))
    driver.run_until_idle()
    first, second, third = (record for _, record in driver.outputs)
    assert (first.key, first.headers, first.offset) == (b"k", (("h", b"v"),), 0)
    assert first.timestamp == datetime(2024, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert second.timestamp == datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert third.timestamp == datetime(2000, 1, 1, tzinfo=UTC)


def test_several_sinks_are_told_apart_by_their_names() -> None:
    broker = LocalBroker()
    flow = orders(broadcast(filter_(bytes.isdigit) | broker.sink("digits", name="digits"), sink(nothing)))
    driver = Driver(flow)
    driver.send(b"1")
    driver.send(b"x")
    driver.close()
    assert driver.outputs == {"digits": [b"1"], "nothing": [b"1", b"x"]}
    assert broker.topics() == {}


class Store:
    """A sink that buffers."""

    def __init__(self) -> None:
        self.buffer: list[Any] = []
        self.kept: list[Any] = []
        self.events: list[str] = []

    def open(self) -> None:
        self.events.append("open")

    def write(self, values: Any) -> None:
        self.buffer += values

    def flush(self) -> None:
        self.kept += self.buffer
        self.buffer.clear()

    def close(self) -> None:
        self.events.append("close")


def test_sink_object_is_committed_after_its_flush_only() -> None:
    store = Store()
    driver = Driver(orders(sink(store)), commit=every(seconds=0.25))
    driver.send(b"a")
    driver.run_until_idle()
    assert (driver.outputs, store.kept, driver.committed) == ([b"a"], [], {})
    driver.advance(0.5)
    assert (store.kept, driver.committed) == ([b"a"], {ORDERS: 1})
    driver.close()
    assert store.events == ["open", "close"]


def test_crash_neither_flushes_nor_closes_a_sink_object() -> None:
    store = Store()
    driver = Driver(orders(sink(store)))
    driver.send(b"a")
    driver.run_until_idle()
    driver.crash()
    assert (store.kept, store.events, driver.committed) == ([], ["open"], {})


def _fail_inside(driver: Driver) -> None:
    with driver:
        driver.send(b"x")
        raise KeyError("mine")


def test_with_closes_and_an_error_in_the_test_does_not_hide_behind_it() -> None:
    with Driver(orders(batch(9), sink(nothing))) as driver:
        driver.send(b"a")
    assert driver.outputs == [[b"a"]]
    with pytest.raises(KeyError, match="mine"):
        _fail_inside(Driver(orders(map_(int), sink(nothing))))


def test_open_flow_and_what_is_no_flow_are_refused() -> None:
    open_flow: Any = orders(map_(int))
    with pytest.raises(FlowDefinitionError, match="the flow is open"):
        Driver(open_flow)
    not_a_flow: Any = [1]
    with pytest.raises(TypeError, match=r"flow must be a flow that ends in a sink, not \[1\]"):
        Driver(not_a_flow)


def test_two_drivers_of_one_flow_share_nothing() -> None:
    flow = orders(sink(nothing))
    one, other = Driver(flow), Driver(flow)
    one.send(b"a")
    one.close()
    other.close()
    assert (other.outputs, other.committed) == ([], {})


DRIVER: Any = Driver


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda d: DRIVER(d, commit=5), TypeError, "commit must be every"),
        (lambda d: DRIVER(d, on_error="ignore"), ValueError, "on_error must be"),
        (lambda d: DRIVER(d, clock=5), TypeError, "clock must be a VirtualClock, not 5"),
        (lambda d: DRIVER(d).advance(-1), ValueError, "seconds must not be negative, but is -1"),
        (lambda d: DRIVER(d).advance("1"), TypeError, "seconds must be a number of seconds or a timedelta, not '1'"),
        (lambda d: DRIVER(d).assign(-1), ValueError, "partition must be at least 0, but is -1"),
        (lambda d: DRIVER(d).assign("0"), TypeError, "partition must be a number or a Partition, not '0'"),
        (lambda d: DRIVER(d).revoke("0"), TypeError, "partition must be a number or a Partition, not '0'"),
        (lambda d: DRIVER(d).reject_next(5), ValueError, "step must be the name of a step, not 5; there are"),
    ],
)
def test_misuse_is_named(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(orders(sink(nothing)))


def test_calls_after_the_end_do_nothing_until_a_restart() -> None:
    driver = Driver(orders(sink(nothing)))
    driver.send(b"a")
    driver.close()
    driver.close()
    driver.send(b"b")
    driver.run_until_idle()
    driver.advance(10.0)
    driver.assign(1)
    driver.revoke(1)
    driver.crash()
    assert (driver.outputs, driver.committed, driver.in_flight) == ([b"a"], {ORDERS: 1}, 0)
    driver.restart()
    driver.close()
    assert (driver.outputs, driver.committed) == ([b"a", b"b"], {ORDERS: 2})


def test_what_it_returns_is_the_callers_to_change() -> None:
    driver = Driver(orders(sink(nothing)))
    driver.send(b"a")
    driver.advance(1.0)
    driver.outputs.append("mine")
    driver.committed.clear()
    assert (driver.outputs, driver.committed) == ([b"a"], {ORDERS: 1})


def test_timestamps_are_seconds_on_the_clock_or_a_date() -> None:
    driver = Driver(orders(with_record() | sink(nothing)))
    driver.advance(60.0)
    driver.send(b"now")
    driver.send(b"then", at=5.0)
    driver.send(b"once", at=datetime(2020, 1, 1, tzinfo=UTC))
    driver.close()
    minutes = [record.timestamp for _, record in driver.outputs]
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    assert minutes == [begin + timedelta(seconds=60), begin + timedelta(seconds=5), datetime(2020, 1, 1, tzinfo=UTC)]
