"""``commit=``: when offsets that are done are committed, and that ``never`` means nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest

from flowdsl import (
    TEXT,
    CommitPolicy,
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    every,
    immediately,
    last,
    map_,
    never,
    sink,
    to_list,
)
from flowdsl.processing import IMMEDIATE, ONCE_PER_SECOND
from flowdsl.testing import Driver

ORDERS = Partition(Topic("orders"), 0)
PATIENCE = 60.0


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as made:
        made.write("orders", range(10), encode=str)
        yield made


def source(broker: LocalBroker, **given: Any) -> Any:
    return broker.source("orders", group_id="g", decode=TEXT, **given)


# -- nothing at all -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["earliest", "latest", last(3), datetime.now(UTC) - timedelta(days=1)])
def test_never_commits_nothing_not_even_where_the_group_begins(broker: LocalBroker, start: Any) -> None:
    flow = source(broker, start=start) | to_list()
    first = flow.run(until="end", commit=never)
    assert broker.committed("g") == {}
    assert flow.run(until="end", commit=never) == first  # so the next run begins there again
    assert broker.committed("g") == {}


def test_beginning_of_a_group_is_committed_before_its_first_record(broker: LocalBroker) -> None:
    seen: list[dict[Partition, int]] = []
    flow = source(broker, start=last(3)) | sink(lambda _: seen.append(broker.committed("g")))
    flow.run(until="end", commit=every(seconds=1000))
    assert seen[0] == {ORDERS: 7}
    assert broker.committed("g") == {ORDERS: 10}


def test_never_leaves_what_others_committed(broker: LocalBroker) -> None:
    (source(broker) | to_list()).run(count=4)
    assert len((source(broker) | to_list()).run(until="end", commit=never)) == 6
    assert broker.committed("g") == {ORDERS: 4}


def test_never_is_never_also_when_the_run_fails_or_is_stopped(broker: LocalBroker) -> None:
    with pytest.raises(StepFailed):
        (source(broker) | map_(lambda n: 1 // (int(n) - 5)) | sink(lambda _: None)).run(until="end", commit=never)
    full = Event()
    handle = (source(broker) | sink(lambda n: full.set() if n == "9" else None)).start(commit=never)
    assert full.wait(PATIENCE)
    handle.stop()
    assert broker.committed("g") == {}


# -- the others -----------------------------------------------------------------------------------------------------------


POLICIES = [every(seconds=1000), every(messages=1000), immediately, CommitPolicy(1, None), ONCE_PER_SECOND, IMMEDIATE]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_end_of_a_run_commits_what_is_done_whatever_the_policy(broker: LocalBroker, policy: CommitPolicy) -> None:
    (source(broker) | to_list()).run(until="end", commit=policy)
    assert broker.committed("g") == {ORDERS: 10}


@pytest.mark.parametrize(
    ("policy", "after", "committed"),
    [
        (every(seconds=5.0), 4.9, None),
        (every(seconds=5.0), 5.0, 3),
        (every(seconds=timedelta(seconds=5)), 5.0, 3),
        (every(messages=4), 1000.0, None),
        (every(messages=3), 0.0, 3),
        (every(seconds=5.0, messages=3), 0.0, 3),
        (every(seconds=5.0, messages=4), 4.9, None),
        (every(seconds=5.0, messages=4), 5.0, 3),
        (immediately, 0.0, 3),
        (CommitPolicy(5, None), 5.0, 3),
        (CommitPolicy(None, 3), 0.0, 3),
        (never, 1e6, None),
    ],
)
def test_policy_fires_by_time_or_by_number_whichever_comes_first(
    policy: CommitPolicy, after: float, committed: int | None
) -> None:
    driver = Driver(source(LocalBroker()) | sink(lambda _: None), commit=policy)
    for number in range(3):
        driver.send(str(number))
    driver.run_until_idle()
    driver.advance(after)
    assert driver.committed == ({} if committed is None else {ORDERS: committed})


def test_default_is_once_a_second() -> None:
    driver = Driver(source(LocalBroker()) | sink(lambda _: None))
    driver.send("a")
    driver.advance(0.9)
    assert driver.committed == {}
    driver.advance(0.1)
    assert driver.committed == {ORDERS: 1}


def test_policies_are_values() -> None:
    assert every(seconds=1) == CommitPolicy(1.0, None) == ONCE_PER_SECOND
    assert immediately == CommitPolicy(None, 1)
    assert every(seconds=2.5, messages=7) == CommitPolicy(2.5, 7)
    assert len({immediately, never, every(seconds=1)}) == 3


WRONG: list[tuple[Any, type[Exception], str]] = [
    (every, ValueError, "every needs seconds=, messages= or both"),
    (lambda: every(seconds=-1), ValueError, "seconds must not be negative, but is -1"),
    (lambda: every(seconds="1"), TypeError, "seconds must be a number of seconds or a timedelta, not '1'"),  # type: ignore[arg-type]  # misuse
    (lambda: every(messages=0), ValueError, "messages must be at least 1, but is 0"),
    (lambda: every(messages=1.5), TypeError, "messages must be a whole number, not 1.5"),  # type: ignore[arg-type]  # misuse
    (CommitPolicy, ValueError, "min_commit_frequency_sec, min_commit_messages, or both"),
    (lambda: CommitPolicy(-1), ValueError, "min_commit_frequency_sec must not be negative, but is -1"),
    (lambda: CommitPolicy("1"), TypeError, "min_commit_frequency_sec must be a number of seconds, not '1'"),  # type: ignore[arg-type]  # misuse
    (lambda: CommitPolicy(float("nan")), ValueError, "min_commit_frequency_sec"),
    (lambda: CommitPolicy(None, 0), ValueError, "min_commit_messages must be at least 1, but is 0"),
    (lambda: CommitPolicy(None, True), TypeError, "min_commit_messages must be a whole number, not True"),
]


@pytest.mark.parametrize(("make", "error", "text"), WRONG)
def test_wrong_policies_are_named(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()
