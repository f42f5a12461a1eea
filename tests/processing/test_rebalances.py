"""Members that join and leave while hand-written strategies hold something: drained, committed, read again, never lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from flowdsl import LocalBroker
from flowdsl.brokers.protocols import Listener, Topics
from flowdsl.processing import IMMEDIATE, DlqPolicy, InvalidMessage, KafkaDlqProducer
from flowdsl.processing.loop import Loop
from flowdsl.stages.switch import Switch
from flowdsl.strategies import (
    BaseValue,
    BatchStep,
    Commit,
    CommitOffsets,
    KafkaPayload,
    Message,
    Partition,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    RunTask,
    Topic,
)
from flowdsl.testing.feed import FedRecords, Feed, FeedConsumer
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import Record
from tests.processing.running import TOPIC, Factory, letters, running

P0, P1 = Partition(TOPIC, 0), Partition(TOPIC, 1)


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker(partitions=2) as made:
        write(made, range(10))
        yield made


def write(broker: LocalBroker, numbers: range) -> None:
    broker.write("orders", numbers, encode=str, partition=lambda number: number % 2)


class Batches(ProcessingStrategyFactory[KafkaPayload]):
    """Large batches, which only a drain completes."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.written: list[list[int]] = []
        self.created: list[set[Partition]] = []

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        self.created.append(set(partitions))

        def parse(message: Message[KafkaPayload]) -> int:
            self.read.append(int(message.payload.value or b""))
            return self.read[-1]

        def keep(message: Message[list[BaseValue[int]]]) -> None:
            self.written.append([value.payload for value in message.payload])

        write = RunTask(keep, CommitOffsets(commit))
        return RunTask(parse, BatchStep(1000, 1000.0, write))  # type: ignore[arg-type]  # a list is the sequence it gives

    @property
    def numbers(self) -> list[int]:
        return [number for batch in self.written for number in batch]


def test_member_that_joins_gets_its_share_and_what_was_held_is_drained_first(broker: LocalBroker) -> None:
    one, other = Batches(), Batches()
    with ExitStack() as stack:
        first = stack.enter_context(running(broker, one))
        first.wait_for(lambda: len(one.read) == 10)
        assert one.written == []
        second = stack.enter_context(running(broker, other))
        second.wait_for(lambda: other.created)
        assert sorted(one.numbers) == list(range(10))  # drained before the other may begin
        assert sum(broker.committed("g").values()) == 10
        write(broker, range(10, 20))
        second.wait_for(lambda: len(one.read) + len(other.read) == 20)
        assert len(one.created[-1]) == len(other.created[0]) == 1
        assert one.created[-1] | other.created[0] == one.created[0] == {P0, P1}
    assert Counter(one.numbers + other.numbers) == Counter(range(20))
    assert sum(broker.committed("g").values()) == 20


def test_member_that_leaves_hands_over_what_it_has_not_done(broker: LocalBroker) -> None:
    one, other = Batches(), Batches()
    with ExitStack() as stack:
        first = stack.enter_context(running(broker, one))
        second = stack.enter_context(running(broker, other))
        second.wait_for(lambda: len(one.created) and len(other.created) and len(one.read) + len(other.read) >= 10)
        second.end()
        write(broker, range(10, 20))
        first.wait_for(lambda: set(one.numbers) | set(one.read) | set(other.numbers) == set(range(20)))
    assert Counter(one.numbers + other.numbers) == Counter(range(20))
    assert one.created[-1] == {P0, P1}
    assert sum(broker.committed("g").values()) == 20


class Stuck(ProcessingStrategy[KafkaPayload]):
    """Takes everything and finishes nothing."""

    def __init__(self) -> None:
        self.taken: list[bytes | None] = []
        self.joined: list[float | None] = []
        self.terminated = 0

    def submit(self, message: Message[object]) -> None:
        payload = message.payload
        assert isinstance(payload, KafkaPayload)
        self.taken.append(payload.value)

    def poll(self) -> None: ...

    def close(self) -> None: ...

    def join(self, timeout: float | None = None) -> None:
        self.joined.append(timeout)

    def terminate(self) -> None:
        self.terminated += 1


class StuckFactory(ProcessingStrategyFactory[KafkaPayload]):
    def __init__(self) -> None:
        self.made: list[Stuck] = []

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> Stuck:
        self.made.append(Stuck())
        return self.made[-1]


def test_what_a_join_leaves_unfinished_is_read_again_by_whoever_has_the_partition(broker: LocalBroker) -> None:
    stuck, finisher = StuckFactory(), Factory(lambda message: seen.append(message.payload.value))
    seen: list[bytes | None] = []
    with ExitStack() as stack:
        first = stack.enter_context(running(broker, stuck, join_timeout=0.2))
        first.wait_for(lambda: stuck.made and len(stuck.made[0].taken) == 10)
        second = stack.enter_context(running(broker, finisher, commit_policy=IMMEDIATE))
        second.wait_for(lambda: len(seen) == 5 and len(stuck.made) == 2 and len(stuck.made[1].taken) == 5)
        before = stuck.made[0]
        assert before.terminated
        assert all(timeout is not None and timeout <= 0.2 for timeout in before.joined)
    # The partition that stayed was read again from where nothing was done, and the other one by its new owner.
    assert sorted(map(int, [value for value in (*seen, *stuck.made[1].taken) if value])) == list(range(10))
    (moved,) = finisher.created
    assert broker.committed("g")[next(iter(moved))] == 5


def test_invalid_records_of_a_drained_pipeline_reach_their_topic(broker: LocalBroker) -> None:
    class Late(ProcessingStrategy[KafkaPayload]):
        def __init__(self, commit: Commit) -> None:
            self.commit = commit
            self.waiting: list[Message[KafkaPayload]] = []

        def submit(self, message: Message[object]) -> None:
            self.waiting.append(message)  # type: ignore[arg-type]  # there are no filtered ones here
            taken.append(message)

        def poll(self) -> None: ...

        def close(self) -> None: ...

        def join(self, timeout: float | None = None) -> None:
            while self.waiting:
                message = self.waiting.pop(0)
                self.commit(message.committable)
                if message.payload.value in {b"3", b"6"}:
                    raise InvalidMessage.from_value(message)

        def terminate(self) -> None: ...

    class LateFactory(ProcessingStrategyFactory[KafkaPayload]):
        def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> Late:
            return Late(commit)

    taken: list[object] = []
    policy = DlqPolicy(KafkaDlqProducer(broker.producer(), Topic("dead")))
    other = Batches()
    with ExitStack() as stack:
        first = stack.enter_context(running(broker, LateFactory(), dlq_policy=policy))
        first.wait_for(lambda: len(taken) == 10)
        second = stack.enter_context(running(broker, other))
        second.wait_for(lambda: other.created)
        assert sorted(letter["value"] for letter in letters(broker, "dead")) == [b"3", b"6"]
        assert sum(broker.committed("g").values()) == 10
    assert other.read == []


class Losing(FeedConsumer):
    """Loses partitions, and keeps others."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.lost: list[Partition] = []

    def subscribe(self, topics: Topics, listener: Listener) -> None:
        super().subscribe(topics, listener)
        self.listener = listener

    def read(self, limit: int, timeout: float) -> FedRecords:
        if self.lost:
            lost, self.lost = self.lost, []
            self.listener.lost(lost)
            for partition in lost:
                del self._positions[partition]
        return super().read(limit, timeout)


def test_what_was_under_way_of_partitions_that_stay_is_read_again_after_a_loss() -> None:
    feed, stuck = Feed(), StuckFactory()
    for partition in (P0, P1):
        feed.append(partition, Record(TOPIC.name, partition.index, 0, None, b"%d" % partition.index))
    consumer, clock = Losing(feed), VirtualClock()
    loop = Loop(consumer, [TOPIC.name], stuck, clock=clock, switch=Switch(clock), policy=IMMEDIATE)
    loop.begin()
    consumer.assign([P0, P1])
    loop.turn()
    assert stuck.made[0].taken == [b"0", b"1"]
    consumer.lost = [P0]
    loop.turn()
    loop.turn()
    assert (stuck.made[0].joined, stuck.made[0].terminated) == ([], 1)
    assert stuck.made[1].taken == [b"1"]
    loop.switch.stop()
    loop.end()
