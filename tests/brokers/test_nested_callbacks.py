"""Questions poll while they wait, so partitions may come and go in the midst of one: what was asked about is not ours then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from flowdsl.brokers.kafka.asking import Asker
from flowdsl.brokers.kafka.assignment import Assignment
from flowdsl.brokers.kafka.commits import Commits
from flowdsl.brokers.kafka.group import Group
from flowdsl.brokers.kafka.topics import Beginning
from flowdsl.brokers.kafka.trouble import Trouble
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.protocols import OnGap
from flowdsl.errors import OffsetOutOfRange
from flowdsl.types import Partition, Topic

FIRST, SECOND = (Partition(Topic("t"), index) for index in range(2))
COMMITTED, END = 5, 30


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowdsl.brokers.kafka.trouble.DOUBT_SECONDS", 0.0)


def given(*indexes: int) -> list[TopicPartition]:
    return [TopicPartition("t", index) for index in indexes]


class Broker:
    """The part of librdkafka's consumer that is used. ``failures``: what the next questions fail with."""

    def __init__(self) -> None:
        self.assigned: dict[int, int] = {}
        self.paused: set[int] = set()
        self.failures: deque[int] = deque()
        self.beginning = 0
        self.epoch: int | None = None

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self.assigned = {place.partition: place.offset for place in places}

    def unassign(self) -> None:
        self.assigned.clear()

    def incremental_assign(self, places: Sequence[TopicPartition]) -> None:
        self.assigned.update({place.partition: place.offset for place in places})

    def incremental_unassign(self, places: Sequence[TopicPartition]) -> None:
        for place in places:
            if self.assigned.pop(place.partition, None) is None:
                raise KafkaException(KafkaError(KafkaError._INVALID_ARG))

    def seek(self, place: TopicPartition) -> None:
        if place.partition not in self.assigned:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self.assigned[place.partition] = place.offset

    def pause(self, places: Sequence[TopicPartition]) -> None:
        self.paused.update(place.partition for place in places)

    def resume(self, places: Sequence[TopicPartition]) -> None:
        self.paused.difference_update(place.partition for place in places)

    def position(self, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition("t", place.partition, -1001) for place in places]

    def committed(self, places: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        self._fail()
        return [TopicPartition("t", place.partition, COMMITTED) for place in places]

    def offsets_for_times(self, places: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        self._fail()
        return [TopicPartition("t", each.partition, self.beginning if each.offset == -2 else END) for each in places]

    def list_topics(self, topic: str | None = None, timeout: float = 0.0) -> Any:
        assert timeout > 0
        return SimpleNamespace(topics={})

    def _fail(self) -> None:
        if self.failures:
            raise KafkaException(KafkaError(self.failures.popleft()))


class Member:
    """A member of a group. ``meanwhile``: what the group does the next time that librdkafka is polled."""

    def __init__(self, *, whole: bool = False, on_gap: OnGap = "earliest") -> None:
        weather, self.broker = Weather(None), Broker()
        commits = Commits("a Kafka", weather)
        handle: Any = self.broker
        commits.handle = handle
        self.meanwhile: deque[Callable[[], None]] = deque()
        self.told: list[tuple[str, list[int]]] = []
        asker = Asker(handle, "a Kafka", weather, self._serve, lambda: self.group.is_called)
        self.assignment = Assignment(handle, commits.epochs, whole=whole)
        beginning = Beginning(frozenset({FIRST, SECOND}), frozenset({"t"}), by_pattern=False)
        self.group = Group(handle, self.assignment, commits, asker, self, "earliest", beginning, commits_start=False)
        self._trouble = Trouble(asker, self.assignment, weather, on_gap, in_group=True)

    def gap(self, offset: int) -> None:
        """Librdkafka tells that there is nothing to read there."""
        error = KafkaError(KafkaError._AUTO_OFFSET_RESET)
        self._trouble.handle(Message(topic="t", partition=0, offset=offset, error=error), self.group.unresolved, ("t",))

    def assigned(self, partitions: Mapping[Partition, int]) -> None:
        self.told.append(("assigned", sorted(partition.index for partition in partitions)))

    def revoked(self, partitions: Collection[Partition]) -> None:
        assert self.group.is_called
        self.told.append(("revoked", sorted(partition.index for partition in partitions)))

    def lost(self, partitions: Collection[Partition]) -> None:
        self.told.append(("lost", sorted(partition.index for partition in partitions)))

    def _serve(self) -> None:
        if self.meanwhile:
            self.meanwhile.popleft()()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("beginning", [0, 200])
def test_partition_that_is_lost_while_its_gap_is_looked_at_is_not_read_again(whole: bool, beginning: int) -> None:
    member = Member(whole=whole)
    member.group.on_assign(None, given(0, 1))  # type: ignore[arg-type]  # not used
    gone = given(0, 1) if whole else given(0)
    member.broker.beginning = beginning
    member.broker.failures.append(KafkaError.NOT_LEADER_FOR_PARTITION)
    member.meanwhile.append(lambda: member.group.on_lost(None, gone))  # type: ignore[arg-type]  # not used
    member.gap(100)
    member.group.serve()
    assert member.broker.assigned == ({} if whole else {1: COMMITTED})
    assert FIRST not in member.assignment.positions
    assert not member.assignment.restarts


def test_log_that_ended_is_begun_again_once_what_was_read_of_it_is_done() -> None:
    member = Member()
    member.group.on_assign(None, given(0, 1))  # type: ignore[arg-type]  # not used
    member.gap(100)
    assert member.assignment.restarts == {FIRST: 0}
    member.group.serve()
    assert member.told == [("assigned", [0, 1]), ("revoked", [0]), ("assigned", [0])]
    assert member.broker.assigned == {0: 0, 1: COMMITTED}


@pytest.mark.parametrize("on_gap", ["earliest", "fail"])
def test_log_that_seems_to_be_cut_is_looked_at_twice(on_gap: OnGap) -> None:
    """A leader that was just replaced does not know the newest epoch."""
    member = Member(on_gap=on_gap)
    member.group.on_assign(None, given(0))  # type: ignore[arg-type]  # not used
    member.broker.assigned[0] = -1
    member.gap(COMMITTED)
    assert not member.assignment.restarts
    assert member.broker.assigned == {0: COMMITTED}, "it is asked again"
    if on_gap == "fail":
        with pytest.raises(OffsetOutOfRange, match="cut below offset 5"):
            member.gap(COMMITTED)
    else:
        member.gap(COMMITTED)
        assert member.assignment.restarts == {FIRST: 0}


def test_log_that_seems_to_be_cut_now_and_then_is_believed_no_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowdsl.brokers.kafka.trouble.DOUBT_LASTS", 0.0)
    member = Member(on_gap="fail")
    member.group.on_assign(None, given(0))  # type: ignore[arg-type]  # not used
    for _ in range(2):
        member.gap(COMMITTED)
    assert member.broker.assigned == {0: COMMITTED}


def test_gap_of_a_partition_of_which_nobody_knows_yet_where_to_read_it_is_none() -> None:
    member = Member(on_gap="fail")
    member.broker.beginning = 20
    member.broker.failures.append(KafkaError._UNKNOWN_PARTITION)
    member.group.on_assign(None, given(0))  # type: ignore[arg-type]  # not used
    member.gap(0)
    member.broker.failures.clear()
    member.group.serve()
    assert member.broker.assigned == {0: COMMITTED}
    assert member.told == [("assigned", [0])]


def test_partition_that_goes_while_it_is_asked_again_where_to_read_it_is_not_read() -> None:
    member = Member()
    member.broker.failures.append(KafkaError._UNKNOWN_PARTITION)
    member.group.on_assign(None, given(0, 1))  # type: ignore[arg-type]  # not used
    assert member.group.waiting == {FIRST, SECOND}
    member.broker.failures.append(KafkaError._TRANSPORT)
    member.meanwhile.append(lambda: member.group.on_revoke(None, given(0)))  # type: ignore[arg-type]  # not used
    member.group.serve()
    assert member.told == [("assigned", [1])]
    assert member.broker.assigned == {1: COMMITTED}


def test_partition_that_comes_while_others_are_asked_for_is_asked_for_too() -> None:
    member = Member()
    member.broker.failures.append(KafkaError._UNKNOWN_PARTITION)
    member.group.on_assign(None, given(0))  # type: ignore[arg-type]  # not used

    def another() -> None:
        member.broker.failures.append(KafkaError._UNKNOWN_PARTITION)
        member.group.on_assign(None, given(1))  # type: ignore[arg-type]  # not used

    member.broker.failures.append(KafkaError._TRANSPORT)
    member.meanwhile.append(another)
    member.group.serve()
    assert member.group.waiting == {SECOND}
    member.group.serve()
    assert member.told == [("assigned", [0]), ("assigned", [1])]
    assert member.broker.paused == set()
