"""Sources of flows on the embedded broker: where a group begins, what is gone, which topics are meant."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from flowdsl import (
    JSON,
    TEXT,
    BrokerError,
    LocalBroker,
    OffsetOutOfRange,
    Partition,
    StepFailed,
    Topic,
    TopicNotFound,
    every,
    last,
    map_,
    never,
    sink,
    take,
    to_list,
    with_record,
)

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PLACE = Partition(Topic("t"), 0)
LETTERS = "abcdef"


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    """Six records, one per minute from noon."""
    with LocalBroker() as made:
        made.write("t", list(LETTERS), timestamp=lambda v: NOON + timedelta(minutes=LETTERS.index(v)))
        yield made


def read(broker: LocalBroker, topics: Any = "t", **given: Any) -> list[str]:
    flow: Any = broker.source(topics, decode=TEXT, **given) | to_list()
    letters: list[str] = flow.run(until="end")
    return letters


STARTS: list[tuple[Any, str]] = [
    ("earliest", "abcdef"),
    ("latest", ""),
    (NOON + timedelta(minutes=2), "cdef"),
    (NOON + timedelta(minutes=2, seconds=1), "def"),
    ((NOON + timedelta(minutes=2)).astimezone(timezone(timedelta(hours=9))), "cdef"),
    (NOON + timedelta(days=1), ""),
    (NOON - timedelta(days=1), "abcdef"),
    (last(2), "ef"),
    (last(100), "abcdef"),
]


@pytest.mark.parametrize(("start", "letters"), STARTS)
def test_group_without_offset_begins_at_start(broker: LocalBroker, start: Any, letters: str) -> None:
    assert read(broker, group_id="g", start=start) == list(letters)
    assert broker.committed("g") == {PLACE: 6}


@pytest.mark.parametrize(("start", "letters"), STARTS)
def test_reading_without_a_group_begins_there_every_time(broker: LocalBroker, start: Any, letters: str) -> None:
    assert read(broker, start=start) == read(broker, start=start) == list(letters)


@pytest.mark.parametrize(("start", "letters"), [each for each in STARTS if each[1]])
def test_start_is_committed_before_the_first_record_is_delivered(broker: LocalBroker, start: Any, letters: str) -> None:
    seen: list[Any] = []
    flow = broker.source("t", group_id="g", start=start) | sink(lambda _: seen.append(broker.committed("g")))
    flow.run(until="end")
    assert seen[0] == {PLACE: 6 - len(letters)}


def test_latest_is_resolved_once(broker: LocalBroker) -> None:
    assert read(broker, group_id="g", start="latest") == []
    broker.write("t", ["g"])
    assert broker.lag("g") == {PLACE: 1}
    assert read(broker, group_id="g", start="latest") == ["g"]


def test_group_with_an_offset_does_not_begin_at_start(broker: LocalBroker) -> None:
    (broker.source("t", group_id="g") | take(2) | to_list()).run()
    assert read(broker, group_id="g", start=last(1)) == list("cdef")


def test_nothing_at_all_is_committed_where_that_was_asked_for(broker: LocalBroker) -> None:
    (broker.source("t", group_id="g", start="latest") | to_list()).run(until="end", commit=never)
    assert broker.committed("g") == {}


def test_without_a_group_nothing_is_committed(broker: LocalBroker) -> None:
    broker.create_topic("many", partitions=3)
    broker.write("many", list("abc"))
    assert sorted(read(broker, "many")) == ["a", "b", "c"]
    stats = (broker.source("many") | sink(lambda _: None)).run(until="end")
    assert (stats.read, stats.committed) == (3, {})


def forget(broker: LocalBroker, before: int) -> None:
    """Drop records, as retention does."""
    log = getattr(broker.client, "storage").find(PLACE)  # noqa: B009  # of the embedded client alone
    log.truncate(before)


def test_records_that_are_gone_unread_stop_the_run(broker: LocalBroker) -> None:
    (broker.source("t", group_id="g") | take(1) | to_list()).run()
    forget(broker, 4)
    with pytest.raises(OffsetOutOfRange, match=r"3 records of t\[0\] are gone"):
        read(broker, group_id="g")
    assert broker.committed("g") == {PLACE: 1}


def test_records_that_are_gone_are_passed_over_and_counted_on_request(
    broker: LocalBroker, caplog: pytest.LogCaptureFixture
) -> None:
    (broker.source("t", group_id="g") | take(1) | to_list()).run()
    forget(broker, 4)
    with caplog.at_level(logging.WARNING, "flowdsl"):
        assert read(broker, group_id="g", on_gap="earliest") == ["e", "f"]
    assert "3 records of t[0] are gone" in caplog.text


def test_records_that_were_gone_before_are_nobodys_loss(broker: LocalBroker) -> None:
    forget(broker, 4)
    assert read(broker, group_id="g") == ["e", "f"]


def test_topics_are_a_name_a_list_or_a_pattern_that_matches_the_whole_name(broker: LocalBroker) -> None:
    broker.write("tt", ["x"])
    broker.write("u", ["y"])
    assert sorted(read(broker, ["tt", "u"])) == ["x", "y"]
    assert sorted(read(broker, ("tt", "u", "tt"))) == ["x", "y"]
    assert sorted(read(broker, re.compile("t+"))) == ["a", "b", "c", "d", "e", "f", "x"]
    assert read(broker, re.compile("tt")) == ["x"]


def test_topic_that_does_not_exist_names_those_that_do(broker: LocalBroker) -> None:
    broker.write("orders", ["x"])
    for topics in ("order", ["t", "order"]):
        with pytest.raises(TopicNotFound, match=r"'order' does not exist .* it has: orders, t\. .*'orders'"):
            read(broker, topics)
    with pytest.raises(TopicNotFound, match="'order' does not exist"):
        broker.read("order")


def test_decode_of_a_source_says_where_it_failed(broker: LocalBroker) -> None:
    broker.write("t", ["{"])
    with pytest.raises(StepFailed) as failed:
        (broker.source("t", start=last(1), decode=JSON) | to_list()).run(until="end")
    assert (failed.value.step, failed.value.offset, failed.value.value) == ("source", 6, b"{")


def test_record_holds_everything_is_frozen_and_pickles(broker: LocalBroker) -> None:
    broker.write("r", ["v"], key="k", headers=[("h", b"1"), ("n", None)], timestamp=NOON)
    flow = broker.source("r") | map_(bytes.decode) | with_record() | to_list()
    ((value, record),) = flow.run(until="end")
    assert value == "v"
    assert (record.topic, record.partition, record.offset, record.key) == ("r", 0, 0, b"k")
    assert (record.value, record.headers, record.timestamp) == (b"v", (("h", b"1"), ("n", None)), NOON)
    assert record.timestamp is not None
    assert record.timestamp.utcoffset() == timedelta(0)
    assert pickle.loads(pickle.dumps(record)) == record == broker.read("r")[0]  # noqa: S301  # our own
    with pytest.raises(AttributeError):
        record.value = b"w"  # type: ignore[misc]  # what is refused


def remaking(broker: LocalBroker, then: Callable[[], object] = lambda: None) -> Callable[[bytes], None]:
    """A function for a sink that gets the letters: with the last of them in hand their topic is made anew, and longer."""
    seen: list[bytes] = []

    def take(value: bytes) -> None:
        seen.append(value)
        if len(seen) == len(LETTERS):
            broker.delete_topic("t")
            broker.write("t", ["x"] * 20)
            then()

    return take


@pytest.mark.parametrize("bound", [{"until": "end"}, {"count": 20}])
def test_run_whose_topic_is_made_anew_is_told_and_commits_nothing_of_it(
    broker: LocalBroker, bound: dict[str, Any]
) -> None:
    """Though there is something at every offset that it read, or is to read: whether it is at its end or goes on."""
    with pytest.raises(BrokerError, match="'t' was deleted and made anew"):
        (broker.source("t", group_id="g", on_gap="earliest") | sink(remaking(broker))).run(**bound)
    assert len(LETTERS) not in broker.committed("g").values()


def test_partition_of_a_topic_made_anew_that_goes_to_another_member_takes_no_old_offset_along(
    broker: LocalBroker,
) -> None:
    eager = {"partition.assignment.strategy": "range"}
    other = broker.client.consumer(group_id="g", settings=eager)

    def join() -> None:
        other.subscribe(["t"], Deaf())
        other.read(1, 0.0)

    flow = broker.source("t", group_id="g", settings=eager) | sink(remaking(broker, then=join))
    with pytest.raises(BrokerError, match="'t' was deleted and made anew"):
        flow.run(commit=every(seconds=1000))
    other.close(0.0)
    assert len(LETTERS) not in broker.committed("g").values()


class Deaf:
    """A listener that does nothing about what it is told."""

    def assigned(self, partitions: Mapping[Partition, int]) -> None: ...

    def revoked(self, partitions: Collection[Partition]) -> None: ...

    def lost(self, partitions: Collection[Partition]) -> None: ...
