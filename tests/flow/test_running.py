"""``run``: where it ends, what it returns, what it raises, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

import pytest

from flowdsl import (
    TEXT,
    ClosedFlow,
    LocalBroker,
    Partition,
    RunTimeout,
    Stats,
    Topic,
    TopicNotFound,
    batch,
    filter_,
    from_iterable,
    merge,
    sink,
    tap,
    to_list,
    unbatch,
)

ORDERS = Partition(Topic("orders"), 0)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
SOON = 1.0
LONG = "x" * 1000


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as made:
        made.write("orders", ["a", "b", "c"])
        yield made


def listed(broker: LocalBroker) -> ClosedFlow[list[str]]:
    return broker.source("orders", group_id="g", decode=TEXT) | to_list()


# -- where it ends --------------------------------------------------------------------------------------------------------


def test_end_is_what_was_the_end_when_the_run_started(broker: LocalBroker) -> None:
    more = tap(lambda _: broker.write("orders", ["later"]))
    flow = broker.source("orders", group_id="g", decode=TEXT) | more | to_list()
    assert flow.run(until="end") == ["a", "b", "c"]
    assert broker.committed("g") == {ORDERS: 3}
    assert listed(broker).run(until="end") == ["later"] * 3


def test_nothing_new_is_a_run_of_nothing(broker: LocalBroker) -> None:
    assert listed(broker).run(until="end") == ["a", "b", "c"]
    assert listed(broker).run(until="end") == []


def test_end_of_every_partition_is_reached() -> None:
    with LocalBroker(partitions=3) as broker:
        broker.write("orders", range(30), key=str, encode=str)
        assert sorted(map(int, listed(broker).run(until="end"))) == list(range(30))
        assert sum(broker.committed("g").values()) == 30


def test_until_a_date_reads_what_was_written_before_it(broker: LocalBroker) -> None:
    broker.write("dated", range(10), encode=str, timestamp=lambda n: NOON + timedelta(hours=n))
    dated = broker.source("dated", group_id="g", decode=TEXT) | to_list()
    assert dated.run(until=NOON + timedelta(hours=4)) == ["0", "1", "2", "3"]
    assert broker.committed("g") == {Partition(Topic("dated"), 0): 4}


def test_until_a_date_to_come_runs_up_to_it(broker: LocalBroker) -> None:
    until = datetime.now(UTC) + timedelta(seconds=SOON)
    assert listed(broker).run(until=until) == ["a", "b", "c"]
    assert datetime.now(UTC) >= until


def test_count_is_of_records_read_and_the_rest_is_for_the_next_run(broker: LocalBroker) -> None:
    flow = broker.source("orders", group_id="g", decode=TEXT) | filter_(lambda value: value != "a") | to_list()
    assert flow.run(count=2) == ["b"]
    assert broker.committed("g") == {ORDERS: 2}
    assert flow.run(count=1) == ["c"]


def test_count_and_end_whichever_comes_first(broker: LocalBroker) -> None:
    assert listed(broker).run(count=2, until="end") == ["a", "b"]
    assert listed(broker).run(count=2, until="end") == ["c"]


def test_values_in_memory_end_by_themselves_and_at_the_end() -> None:
    flow = from_iterable(range(3000)) | to_list()
    assert flow.run() == list(range(3000))
    assert flow.run(until="end") == list(range(3000))
    assert flow.run(count=5) == list(range(5))
    assert flow.run(count=5000, timeout=60) == list(range(3000))


def test_merged_values_in_memory_all_come_up_to_the_end() -> None:
    flow = merge(from_iterable(range(500)), from_iterable(range(500, 1000))) | to_list()
    assert sorted(flow.run(until="end")) == list(range(1000))


def test_date_ends_values_in_memory_that_have_no_end() -> None:
    until = datetime.now(UTC) + timedelta(seconds=SOON)
    endless = from_iterable(lambda: iter(int, 1)) | sink(lambda _: None)
    stats = endless.run(until=until)
    assert datetime.now(UTC) >= until
    assert stats.read == stats.delivered > 0


# -- timeouts -------------------------------------------------------------------------------------------------------------


def test_timeout_alone_is_a_normal_end(broker: LocalBroker) -> None:
    assert listed(broker).run(timeout=SOON) == ["a", "b", "c"]
    assert broker.committed("g") == {ORDERS: 3}
    assert (from_iterable(lambda: iter(int, 1)) | to_list()).run(timeout=timedelta(seconds=SOON))[:2] == [0, 0]


@pytest.mark.parametrize("bound", [{"count": 4}, {"until": datetime.now(UTC) + timedelta(days=1)}])
def test_timeout_with_a_bound_is_a_deadline_and_what_is_done_is_committed(
    broker: LocalBroker, bound: dict[str, Any]
) -> None:
    seen: list[str] = []
    flow = broker.source("orders", group_id="g", decode=TEXT) | sink(seen.append)
    with pytest.raises(RunTimeout, match=rf"within 1\.0 s .*{next(iter(bound))}.*: 3 records"):
        flow.run(timeout=SOON, **bound)
    assert seen == ["a", "b", "c"]
    assert broker.committed("g") == {ORDERS: 3}


@pytest.mark.parametrize("given", [{}, {"until": "end"}, {"count": 2000}])
def test_functions_that_turn_slow_do_not_hold_up_a_timeout(given: dict[str, Any]) -> None:
    def work(value: str) -> None:
        if int(value) >= 1000:
            sleep(0.05)
        done.append(value)

    done: list[str] = []
    with LocalBroker() as broker:
        broker.write("orders", range(3000), encode=str)
        flow = broker.source("orders", group_id="g", decode=TEXT) | sink(work)
        if given:
            with pytest.raises(RunTimeout, match=r"within 1\.0 s .* are done"):
                flow.run(timeout=1.0, **given)
        else:
            flow.run(timeout=1.0)
        assert 1000 < len(done) < 1200  # a slice has 512 of them
        assert broker.committed("g") == {ORDERS: len(done)}


def test_time_that_is_up_in_the_drain_is_told_too(broker: LocalBroker) -> None:
    flow = broker.source("orders", group_id="g") | batch(9) | unbatch() | sink(lambda _: sleep(SOON + 0.2))
    with pytest.raises(RunTimeout):
        flow.run(until="end", timeout=SOON)
    assert broker.committed("g") == {ORDERS: 0}


def test_bound_that_is_reached_in_time_is_no_timeout(broker: LocalBroker) -> None:
    assert listed(broker).run(until="end", timeout=60) == ["a", "b", "c"]


# -- what it returns, and refuses -----------------------------------------------------------------------------------------


def test_run_returns_stats_or_the_list(broker: LocalBroker) -> None:
    stats = (broker.source("orders", group_id="g") | sink(lambda _: None)).run(until="end")
    assert isinstance(stats, Stats)
    assert (stats.read, stats.delivered, stats.filtered, stats.failed, stats.in_flight) == (3, 3, 0, 0, 0)
    assert stats.committed == {ORDERS: 3}
    assert stats.elapsed > 0


def test_topic_that_does_not_exist_is_told_with_those_that_do(broker: LocalBroker) -> None:
    with pytest.raises(TopicNotFound, match=r"'nowhere'.*orders"):
        (broker.source("nowhere", group_id="g") | to_list()).run(until="end")


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"count": 0}, ValueError, "count must be at least 1, but is 0"),
    ({"count": True}, TypeError, "count must be a whole number, not True"),
    ({"count": LONG}, TypeError, "count must be a whole number, not 'xxx"),
    ({"timeout": -1}, ValueError, "timeout must not be negative, but is -1"),
    ({"timeout": timedelta(seconds=-1)}, ValueError, "timeout must not be negative, but is datetime.timedelta"),
    ({"timeout": float("nan")}, ValueError, "timeout must be a number of seconds or a timedelta, not nan"),
    ({"timeout": LONG}, TypeError, "timeout must be a number of seconds or a timedelta, not 'xxx"),
    ({"until": "ende"}, ValueError, "until must be \"end\", an aware datetime or None, not 'ende'"),
    ({"until": LONG}, ValueError, 'until must be "end", an aware datetime or None, not \'xxx'),
    ({"until": datetime(2024, 1, 1)}, ValueError, "until must be an aware datetime"),  # noqa: DTZ001  # what is refused
    ({"commit": None}, TypeError, "commit must be every"),
    ({"commit": LONG}, TypeError, "commit must be every"),
    ({"on_error": "ignore"}, ValueError, 'on_error must be "stop", "skip"'),
    ({"on_error": LONG}, ValueError, "on_error must be"),
    ({"stop_timeout": -0.5}, ValueError, "stop_timeout must not be negative, but is -0.5"),
    ({"stop_timeout": None}, TypeError, "stop_timeout must be a number of seconds or a timedelta, not None"),
    ({"progress": "yes"}, TypeError, "progress must be True or False, not 'yes'"),
    ({"wait": 1}, TypeError, "wait"),
]


@pytest.mark.parametrize("call", ["run", "start"])
@pytest.mark.parametrize(("given", "error", "text"), REFUSED)
def test_wrong_arguments_are_named_with_their_values_and_nothing_starts(
    broker: LocalBroker, call: str, given: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        getattr(listed(broker), call)(**given)
    assert text in str(raised.value)
    assert len(str(raised.value)) < 400
    assert broker.committed("g") == {}
