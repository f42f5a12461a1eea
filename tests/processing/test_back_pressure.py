"""A strategy that rejects: the message is offered again, and after two seconds the partitions are paused. In virtual time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any

import pytest

from flowdsl import LocalBroker, sink, through
from flowdsl.processing import IMMEDIATE, StreamProcessor
from flowdsl.processing.bounds import Chosen
from flowdsl.processing.loop import Loop
from flowdsl.stages.switch import Switch
from flowdsl.strategies import (
    Commit,
    CommitOffsets,
    KafkaPayload,
    Message,
    MessageRejected,
    Partition,
    ProcessingStrategy,
    ProcessingStrategyFactory,
)
from flowdsl.testing.feed import Feed, FeedConsumer
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import Record
from tests.processing.running import P0, TOPIC
from tests.strategies.doubles import ClosedUntil

P1 = Partition(TOPIC, 1)
PATIENCE = 2.0
"""Seconds of back-pressure before partitions are paused."""


class Watched(FeedConsumer):
    """Notes when it is read, paused and resumed."""

    def __init__(self, feed: Feed, clock: VirtualClock) -> None:
        super().__init__(feed)
        self.clock = clock
        self.events: list[tuple[str, float]] = []
        self.reads: list[float] = []
        self.paused: set[Partition] = set()
        self.calls: list[tuple[float, Callable[[], object]]] = []

    def pause(self, partitions: Collection[Partition]) -> None:
        self.events.append(("pause", round(self.clock(), 1)))
        self.paused.update(partitions)
        super().pause(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        if self.paused & set(partitions):
            self.events.append(("resume", round(self.clock(), 1)))
        self.paused.difference_update(partitions)
        super().resume(partitions)

    def read(self, limit: int, timeout: float) -> Any:
        self.reads.append(self.clock())
        due = [each for each in self.calls if each[0] <= self.clock()]
        for each in due:
            self.calls.remove(each)
            each[1]()
        return super().read(limit, timeout)


class Rejecting(ProcessingStrategy[KafkaPayload]):
    """Has no room in some span of time."""

    def __init__(self, scene: Scene, commit: Commit) -> None:
        self.scene, self.end = scene, CommitOffsets(commit)

    def submit(self, message: Message[Any]) -> None:
        begin, end = self.scene.busy
        if begin <= self.scene.clock() < end:
            self.scene.rejected += 1
            raise MessageRejected
        self.scene.taken.append((message.payload.value, round(self.scene.clock(), 1)))
        self.end.submit(message)
        if len(self.scene.taken) == self.scene.wanted:
            self.scene.processor.signal_shutdown()

    def poll(self) -> None:
        self.scene.polls += 1

    def close(self) -> None: ...

    def join(self, timeout: float | None = None) -> None:
        self.end.join(timeout)

    def terminate(self) -> None: ...


class Scene(ProcessingStrategyFactory[KafkaPayload]):
    """Records in a feed, a strategy that rejects, and the processor between them."""

    def __init__(self, *, records: int, busy: tuple[float, float], wanted: int | None = None) -> None:
        self.clock, self.feed = VirtualClock(), Feed()
        for number in range(records):
            self.append(P0, number)
        self.busy, self.wanted = busy, records if wanted is None else wanted
        self.taken: list[tuple[bytes, float]] = []
        self.created: list[dict[Partition, int]] = []
        self.rejected = self.polls = 0
        self.consumer = Watched(self.feed, self.clock)
        self.processor = StreamProcessor(self.consumer, TOPIC, self, clock=self.clock)

    def append(self, partition: Partition, number: int) -> None:
        record: Record[Any] = Record(TOPIC.name, partition.index, self.feed.end(partition), None, b"%d" % number)
        self.feed.append(partition, record)

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> Rejecting:
        self.created.append(dict(partitions))
        return Rejecting(self, commit)

    def once(self, moment: float, call: Callable[[], object]) -> None:
        """Call this within the first read from that moment on."""
        self.consumer.calls.append((moment, call))

    def send_at(self, moment: float, partition: Partition, number: int) -> None:
        self.once(moment, lambda: self.append(partition, number))

    def run(self) -> None:
        self.once(0.0, lambda: self.consumer.assign({P0}))
        self.processor.run()


def test_short_back_pressure_neither_pauses_nor_reads() -> None:
    scene = Scene(records=3, busy=(0.0, PATIENCE - 0.5))
    scene.run()
    assert [value for value, _ in scene.taken] == [b"0", b"1", b"2"]
    assert scene.rejected > 100
    assert scene.polls > scene.rejected  # what makes room is polled meanwhile
    assert scene.consumer.events == []
    assert len([at for at in scene.consumer.reads if 0.0 < at < PATIENCE - 0.5]) == 0
    assert scene.feed.committed == {P0: 3}


def test_after_two_seconds_partitions_are_paused_and_the_consumer_is_read_to_stay_a_member() -> None:
    scene = Scene(records=5, busy=(0.0, 60.0), wanted=6)
    scene.send_at(60.0, P0, 5)
    scene.run()
    assert scene.consumer.events == [("pause", PATIENCE), ("resume", 60.0)]
    while_paused = [at for at in scene.consumer.reads if PATIENCE < at < 60.0]
    assert max(after - before for before, after in pairwise(while_paused)) < 1.0
    assert [value for value, _ in scene.taken] == [b"%d" % n for n in range(6)]  # each once, in order
    assert scene.feed.committed == {P0: 6}


def test_revocation_under_back_pressure_drops_what_waits_and_pauses_nothing_for_the_next_owner() -> None:
    scene = Scene(records=2, busy=(0.0, 10.0))
    scene.append(P1, 10)
    scene.append(P1, 11)

    def rebalance() -> None:
        assert scene.consumer.paused == {P0}  # with two records of it waiting
        scene.consumer.revoke({P0})
        scene.consumer.assign({P1})

    scene.once(4.0, rebalance)
    scene.run()
    assert [value for value, _ in scene.taken] == [b"10", b"11"]
    assert scene.created == [{P0: 0}, {P1: 0}]
    assert scene.feed.committed == {P1: 2}


def test_assignment_under_back_pressure_is_paused_too_and_nothing_is_lost() -> None:
    scene = Scene(records=2, busy=(0.0, 10.0), wanted=5)
    scene.append(P1, 10)
    scene.append(P1, 11)
    scene.once(4.0, lambda: scene.consumer.assign({P1}))
    scene.send_at(10.0, P1, 12)
    scene.run()
    assert sorted(value for value, _ in scene.taken) == [b"0", b"1", b"10", b"11", b"12"]
    assert scene.feed.committed == {P0: 2, P1: 3}
    assert scene.consumer.paused == set()


class Late(FeedConsumer):
    """Tells where it stands one read late, as happens where partitions change hands during a read.

    Transactions end behind all records, so that it stands one further than these do.
    """

    def __init__(self, feed: Feed, clock: VirtualClock) -> None:
        super().__init__(feed)
        self._clock = clock
        self._untold: dict[Partition, int] = {}

    def read(self, limit: int, timeout: float) -> Any:
        read = super().read(limit, timeout)
        if not len(read):
            self._clock.sleep(timeout)
        told, self._untold = self._untold, {partition: at + 1 for partition, at in read.positions.items()}
        return Chosen(read, range(len(read)), told)


class HeldUp(ProcessingStrategyFactory[Any]):
    """In the middle of a flow, or with commits of its own."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def create_with_partitions(
        self, commit: Commit, partitions: Any, downstream: Any = None
    ) -> ProcessingStrategy[Any]:
        return ClosedUntil(10.0, self._clock, downstream or CommitOffsets(commit))


@pytest.mark.parametrize("compiled", [True, False])
def test_position_that_is_told_under_back_pressure_is_committed_behind_the_records_that_wait(compiled: bool) -> None:
    clock, feed = VirtualClock(), Feed()
    held: Any = HeldUp(clock)
    flow: Any = LocalBroker().source(TOPIC.name, group_id="g") | through(held) | sink(lambda _: None)
    factory = flow.compile() if compiled else held
    consumer = Late(feed, clock)
    loop = Loop(consumer, [TOPIC.name], factory, clock=clock, switch=Switch(clock), policy=IMMEDIATE)
    loop.begin()
    consumer.assign([P0])
    while loop.feeder.is_empty:  # the steps take some before there is no room any more
        feed.append(P0, Record(TOPIC.name, 0, feed.end(P0), None, b"r"))
        loop.turn()
    while clock() < 20.0:
        loop.turn()
    assert feed.committed == {P0: feed.end(P0) + 1}


def test_shutdown_under_back_pressure_ends_and_commits_what_was_taken() -> None:
    scene = Scene(records=3, busy=(0.0, 1e9))
    scene.once(3.0, scene.processor.signal_shutdown)
    scene.run()
    assert (scene.taken, scene.feed.committed) == ([], {})
