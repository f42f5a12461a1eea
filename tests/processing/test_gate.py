"""The gate for commits against a plain model: what a broker may ever see, and what it must see in the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.brokers.protocols import Outage, Rebalancing
from flowdsl.clock import Deadline
from flowdsl.errors import BrokerError, CommitFailed, Fenced, NotAuthorized, TopicNotFound
from flowdsl.processing.gate import REPEAT_SECONDS, Gate
from flowdsl.stages.ledger import Ledger
from flowdsl.testing import VirtualClock
from flowdsl.types import ONCE_PER_SECOND, CommitPolicy, Partition, Topic
from tests.stages.rows import Rows

PLACES = [Partition(Topic("orders"), index) for index in range(3)]
INTERVAL = 10.0

Answered = Callable[[BrokerError | None], None]


class Wire:
    """The part of a consumer that a gate uses. Commits take effect when they are answered well."""

    commits = True
    poll_interval = INTERVAL

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.stored: dict[Partition, int] = {}
        self.under_way: deque[tuple[dict[Partition, int], Answered]] = deque()
        self.answers_within: float | None = None
        self.sent: list[dict[Partition, int]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens while somebody waits for an answer."""

    def commit(self, offsets: Mapping[Partition, int], answered: Answered) -> None:
        assert not self.under_way, "a second commit is under way"
        assert offsets, "a commit of nothing"
        self.under_way.append((dict(offsets), answered))
        self.sent.append(dict(offsets))

    def answer(self, *, lost: bool) -> None:
        if self.under_way:
            offsets, answered = self.under_way.popleft()
            if not lost:
                self.stored.update(offsets)
            answered(BrokerError("lost") if lost else None)

    def settle(self, timeout: float) -> None:
        if self.answers_within is not None and self.answers_within <= timeout:
            self._clock.sleep(self.answers_within)
            self.answer(lost=False)
        else:
            self._clock.sleep(timeout)
        self.meanwhile()


class World:
    """A gate, its wire, and what is true."""

    def __init__(self, policy: CommitPolicy) -> None:
        self.clock = VirtualClock()
        self.wire = Wire(self.clock)
        self.gate = Gate(self.wire, policy, self.clock)  # type: ignore[arg-type]  # the part of it that is used
        self.owned: dict[Partition, int] = {}
        self.done: dict[Partition, int] = {}
        self.highest: dict[Partition, int] = {}

    def assign(self, index: int) -> None:
        place = PLACES[index]
        if place not in self.owned:
            start = self.wire.stored.get(place, 0)
            self.owned[place] = self.done[place] = self.highest[place] = start
            self.gate.assign({place: start})

    def release(self, index: int) -> None:
        self.owned.pop(PLACES[index], None)
        self.gate.release([PLACES[index]])

    def finish(self, index: int, more: int) -> None:
        """More of a partition is done, whether or not it is assigned."""
        place = PLACES[index]
        offset = self.done.get(place, 0) + more
        self.gate({place: offset})
        if place in self.owned:
            self.done[place] = max(offset, self.done[place])

    def turn(self) -> None:
        before = len(self.wire.sent)
        self.gate.turn()
        self.look_at(before)

    def look_at(self, before: int) -> None:
        """Every commit since is allowed."""
        for offsets in self.wire.sent[before:]:
            assert self.clock() - self.gate.last_read < INTERVAL, "nobody knows whose these are by now"
            for place, offset in offsets.items():
                assert place in self.owned
                assert self.highest[place] <= offset <= self.done[place]
                self.highest[place] = offset

    def read(self) -> None:
        self.gate.last_read = self.clock()

    def send_last(self, seconds: float) -> bool:
        """Whether everything is committed."""
        before = len(self.wire.sent)
        started = self.clock()
        try:
            self.gate.send_last(Deadline.after(self.clock, seconds))
        except CommitFailed:
            done = False
        else:
            done = True
        assert self.clock() - started <= seconds + 1e-9
        self.look_at(before)
        return done

    def check(self) -> None:
        """Everything is committed; a commit of an earlier assignment that arrived late may have been further."""
        for place in self.owned:
            assert self.wire.stored.get(place, self.owned[place]) >= self.done[place]


indexes = st.integers(0, 2)
EVENTS = st.one_of(
    st.tuples(st.just("assign"), indexes),
    st.tuples(st.just("release"), indexes),
    st.tuples(st.just("finish"), indexes, st.integers(0, 4)),
    st.tuples(st.just("turn")),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("pass"), st.sampled_from([0.1, 1.0, INTERVAL])),
    st.tuples(st.just("read")),
    st.tuples(st.just("last"), st.sampled_from([0.0, 0.5, 2.0])),
)
POLICIES = [CommitPolicy(1.0, None), CommitPolicy(None, 3), CommitPolicy(0.0, None), CommitPolicy(5.0, 2)]


def happen(world: World, event: tuple[Any, ...]) -> None:
    match event:
        case "assign", index:
            world.assign(index)
        case "release", index:
            world.release(index)
        case "finish", index, more:
            world.finish(index, more)
        case "answer", lost:
            world.wire.answer(lost=lost)
        case "pass", seconds:
            world.clock.advance(seconds)
        case "read", *_:
            world.read()
        case "last", seconds:
            if world.send_last(seconds):
                world.check()
    world.turn()


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("answers_within", [None, 0.0, 1.0])
@given(events=st.lists(EVENTS, max_size=40))
def test_only_what_is_owned_and_done_is_committed_and_in_the_end_all_of_it(
    policy: CommitPolicy, answers_within: float | None, events: list[tuple[Any, ...]]
) -> None:
    world = World(policy)
    world.wire.answers_within = answers_within
    for event in events:
        happen(world, event)
    world.wire.answer(lost=False)
    world.wire.answers_within = 0.0
    world.read()
    assert world.send_last(5.0)
    world.check()


def test_the_answer_to_a_commit_that_was_given_up_is_not_taken_for_that_of_the_next() -> None:
    world = World(CommitPolicy(None, 1))
    world.assign(0)
    world.assign(1)
    world.finish(0, 1)
    world.turn()
    assert not world.send_last(0.0)
    world.finish(1, 1)
    world.turn()
    world.wire.answer(lost=False)
    world.turn()
    world.wire.answer(lost=True)
    world.turn()
    world.wire.answer(lost=False)
    assert world.wire.stored == {PLACES[0]: 1, PLACES[1]: 1}


def test_a_late_answer_says_nothing_about_a_partition_that_was_given_up_and_came_back() -> None:
    world = World(CommitPolicy(None, 1))
    world.assign(0)
    world.finish(0, 5)
    world.turn()
    world.release(0)
    world.wire.stored[PLACES[0]] = 2
    world.assign(0)
    world.wire.under_way[0][1](None)
    world.wire.under_way.clear()
    world.finish(0, 1)
    world.turn()
    assert world.wire.sent[-1] == {PLACES[0]: 3}
    assert world.gate.committed == {PLACES[0]: 5}


def test_what_a_pipeline_had_done_when_it_went_is_committed_though_the_next_one_has_nothing() -> None:
    world = World(CommitPolicy(None, 3))
    world.assign(0)
    ledger = Ledger()
    world.gate.follow(ledger)
    ledger.advance(ledger.accept(Rows([(PLACES[0], at) for at in range(3)], {})) + 3)
    world.gate.turn()  # one is under way, and is not answered before the partitions are dealt anew
    ledger.advance(ledger.accept(Rows([(PLACES[0], at) for at in (3, 4)], {})) + 2)
    with pytest.raises(CommitFailed):
        world.gate.send_last(Deadline.after(world.clock, 0.0))
    world.gate.drop_ledger()
    world.gate.follow(Ledger())
    world.wire.answer(lost=False)
    world.gate.turn()
    assert world.wire.sent == [{PLACES[0]: 3}, {PLACES[0]: 5}]


@pytest.mark.parametrize("comes_back", [False, True])
def test_who_loses_a_partition_while_the_last_commit_is_under_way_hears_that_it_was_not_acknowledged(
    comes_back: bool,
) -> None:
    world = World(ONCE_PER_SECOND)
    for index in (0, 1):
        world.assign(index)
        world.finish(index, 5)

    def lose() -> None:
        world.gate.forget(PLACES[:1])
        world.release(0)
        if comes_back:
            world.assign(0)

    world.wire.meanwhile = lose
    with pytest.raises(CommitFailed) as failed:
        world.gate.send_last(Deadline.after(world.clock, 2.0))
    assert str(failed.value).startswith("the last commit was not acknowledged (orders[0] up to 5, orders[1] up to 5): ")
    assert "the group took partitions away meanwhile" in str(failed.value)
    world.wire.meanwhile = lambda: None
    with pytest.raises(CommitFailed, match=r"\(orders\[1\] up to 5\): no answer in time"):
        world.gate.send_last(Deadline.after(world.clock, 2.0))


def test_a_partition_that_is_lost_once_its_last_commit_was_acknowledged_is_nothing_to_tell() -> None:
    world = World(ONCE_PER_SECOND)
    world.assign(0)
    world.finish(0, 5)
    world.wire.answers_within = 1.0
    world.wire.meanwhile = lambda: world.release(0)
    world.gate.send_last(Deadline.after(world.clock, 2.0))
    assert world.wire.stored == {PLACES[0]: 5}


def test_what_was_committed_of_a_log_that_is_gone_says_nothing_about_the_one_that_is_there() -> None:
    world = World(ONCE_PER_SECOND)
    world.assign(0)
    world.finish(0, 5)
    world.wire.answers_within = 1.0
    world.gate.send_last(Deadline.after(world.clock, 2.0))
    world.release(0)
    world.wire.stored[PLACES[0]] = 0
    world.assign(0)
    assert world.gate.committed == {}
    world.finish(0, 3)
    world.wire.answers_within, world.wire.meanwhile = None, lambda: world.release(0)
    with pytest.raises(CommitFailed, match=r"orders\[0\] up to 3"):
        world.gate.send_last(Deadline.after(world.clock, 2.0))


def test_who_has_not_read_for_too_long_to_commit_hears_of_it_at_the_end() -> None:
    world = World(ONCE_PER_SECOND)
    world.assign(0)
    world.finish(0, 5)
    world.clock.advance(INTERVAL)
    with pytest.raises(CommitFailed, match="nothing was read for 10 s"):
        world.gate.send_last(Deadline.after(world.clock, 2.0))
    assert not world.wire.sent


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_commit_that_failed_is_sent_again_though_nothing_more_is_done(policy: CommitPolicy) -> None:
    world = World(policy)
    world.assign(0)
    world.finish(0, 5)
    world.clock.advance(3.0)
    world.turn()
    world.wire.answer(lost=True)
    world.clock.advance(REPEAT_SECONDS)
    world.turn()
    assert world.wire.sent == [{PLACES[0]: 5}, {PLACES[0]: 5}]


class Refusing(Wire):
    """Answers with these errors before it takes a commit."""

    def __init__(self, clock: VirtualClock, *errors: BrokerError) -> None:
        super().__init__(clock)
        self._errors = deque(errors)

    def settle(self, timeout: float) -> None:
        if self._errors and self.under_way:
            self.under_way.popleft()[1](self._errors.popleft())
        else:
            super().settle(timeout)


def refused(*errors: BrokerError) -> World:
    """A partition whose records are done, and whose commits are answered with these errors first."""
    world = World(ONCE_PER_SECOND)
    world.wire = Refusing(world.clock, *errors)
    world.wire.answers_within = 0.0
    world.gate = Gate(world.wire, ONCE_PER_SECOND, world.clock)  # type: ignore[arg-type]  # as above
    world.assign(0)
    world.finish(0, 5)
    return world


def test_the_last_commit_is_sent_again_as_long_as_the_group_deals_partitions_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = refused(*[Rebalancing("an older generation")] * 20)
    assert world.send_last(5.0)
    world.check()
    assert not [record for record in caplog.records if record.levelname == "WARNING"], "this happens when all is well"


@pytest.mark.parametrize("error", [Fenced, NotAuthorized, TopicNotFound])
def test_the_last_commit_is_not_sent_again_where_that_mends_nothing(error: type[BrokerError]) -> None:
    world = refused(error("another one has its name, or the topic was deleted"))
    assert not world.send_last(5.0)
    assert len(world.wire.sent) == 1


def test_a_failure_is_told_once_also_when_the_group_dealt_partitions_anew_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = refused(Rebalancing("an older generation"), BrokerError("busy"), BrokerError("busy"))
    assert world.send_last(5.0)
    assert [record.getMessage() for record in caplog.records] == ["a commit failed and will be repeated: busy"]


def test_a_failure_in_an_outage_is_not_told_besides_the_outage(caplog: pytest.LogCaptureFixture) -> None:
    world = refused(Outage("no coordinator"), Outage("no coordinator"))
    assert world.send_last(5.0)
    assert not caplog.records
