"""Partitions change hands while records wait, sinks are slow and members freeze, in each group protocol."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest

from flowdsl import Flow, Kafka, Partition, StepFailed, Topic, batch, every, map_, sink, through
from flowdsl.processing import CommitPolicy, StreamProcessor
from flowdsl.strategies import Message, MessageRejected, ProcessingStrategy, ProcessingStrategyFactory
from tests.kafka.helpers import add, fill, wait_for
from tests.kafka.protocols import in_every_protocol, settings_of
from tests.strategies.doubles import Passing

pytestmark = pytest.mark.slow
OFTEN = every(seconds=0.2)


class Held(Passing):
    """Hands on what comes while the gate is open, and rejects while it is not."""

    def __init__(self, gate: threading.Event, rejects: threading.Event, downstream: ProcessingStrategy[Any]) -> None:
        super().__init__(downstream)
        self._gate, self._rejects = gate, rejects

    def submit(self, message: Message[Any]) -> None:
        if not self._gate.is_set():
            self._rejects.set()
            raise MessageRejected
        super().submit(message)


class Holding(ProcessingStrategyFactory[Any]):
    def __init__(self, gate: threading.Event, rejects: threading.Event) -> None:
        self._gate, self._rejects = gate, rejects

    def create_with_partitions(self, commit: Any, partitions: Any, downstream: Any = None) -> ProcessingStrategy[Any]:
        return Held(self._gate, self._rejects, downstream)


class Member:
    """A flow that is running, whose sink can be held up."""

    def __init__(self, kafka: Kafka, topic: str, group: str, protocol: str, values: list[int]) -> None:
        self.gate, self.rejects = threading.Event(), threading.Event()
        settings = {**settings_of(protocol), "max.poll.interval.ms": 18_000}  # a rebalance waits for a third of it
        if "session.timeout.ms" in settings:
            settings["session.timeout.ms"] = 18_000
        source: Flow[bytes] = kafka.source(topic, group_id=group, settings=settings)
        flow: Any = source | through(Holding(self.gate, self.rejects)) | map_(int) | sink(values.append)
        self.handle = flow.start(commit=OFTEN)

    def stop(self) -> None:
        self.gate.set()
        self.handle.stop(timeout=120)


@pytest.fixture
def member(kafka: Kafka, t: str, g: str) -> Iterator[Callable[..., Member]]:
    members: list[Member] = []

    def make(protocol: str, values: list[int]) -> Member:
        members.append(Member(kafka, t, g, protocol, values))
        return members[-1]

    yield make
    for each in members:
        if each.handle.running:
            each.stop()


@in_every_protocol
def test_what_is_held_back_while_members_come_and_go_is_delivered(
    kafka: Kafka, t: str, g: str, protocol: str, member: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kafka.create_topic(t, partitions=4)
    written: list[int] = []

    def more() -> None:
        numbers = range(len(written), len(written) + 40)
        add(kafka, t, numbers, partitions=4)
        written.extend(numbers)

    def is_paused() -> bool:
        more()  # however much the stages hold: what comes behind that waits, and pauses the partitions
        return "no record was taken for" in caplog.text

    values: list[int] = []
    first = member(protocol, values)
    wait_for(is_paused)
    second = member(protocol, values)
    assert second.handle.wait_ready(120)
    more()
    time.sleep(3.0)
    second.gate.set()
    wait_for(lambda: len(values) >= 20)  # two partitions at least are free
    second.stop()
    more()
    time.sleep(3.0)  # the first gets the partitions of the second, and is still held up
    first.gate.set()
    wait_for(lambda: set(values) == set(written))
    wait_for(lambda: sum(kafka.lag(g).values()) == 0)
    assert len(kafka.committed(g)) == 4
    assert "lost: " not in caplog.text, "a rebalance waited longer for what is held than the group has patience"


class Slow:
    """A sink that needs a while for each record, and tells what it has done."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.done = seconds, list[tuple[int, int]]()

    def __call__(self, pair: tuple[int, int]) -> None:
        time.sleep(self.seconds)
        self.done.append(pair)


@in_every_protocol
def test_what_a_short_join_left_undone_is_read_again_from_the_partitions_that_stay(
    kafka: Kafka, t: str, g: str, protocol: str
) -> None:
    from flowdsl import batch, unbatch, with_record  # noqa: PLC0415

    fill(kafka, t, 400, partitions=4)
    sinks = [Slow(0.05), Slow(0.0)]
    processors = []
    for slow in sinks:
        flow: Any = (
            kafka.source(t, group_id=g)
            | with_record()
            | map_(lambda pair: (pair[1].partition, pair[1].offset))
            | batch(40, within=0.5)
            | unbatch()
            | sink(slow)
        )
        processors.append(
            StreamProcessor(
                consumer=kafka.consumer(group_id=g, settings=settings_of(protocol)),
                topic=Topic(t),
                processor_factory=flow.compile(),
                commit_policy=CommitPolicy(0.2, None),
                join_timeout=0.5,
            )
        )
    threads = [threading.Thread(target=processor.run) for processor in processors]
    threads[0].start()
    wait_for(lambda: len(sinks[0].done) > 10)
    threads[1].start()  # takes half of the partitions while the first has batches in hand
    wait_for(lambda: {*sinks[0].done, *sinks[1].done} == {(p, o) for p in range(4) for o in range(100)})
    wait_for(lambda: sum(kafka.lag(g).values()) == 0 and len(kafka.committed(g)) == 4)
    for processor, thread in zip(processors, threads, strict=True):
        processor.signal_shutdown()
        thread.join(60)
    in_order(sinks[0].done)
    in_order(sinks[1].done)


def in_order(done: Collection[tuple[int, int]]) -> None:
    """An offset of one member comes when the one before came already, in this life or at the start of an assignment."""
    last: dict[int, int] = {}
    for partition, offset in done:
        assert offset <= last.get(partition, offset) + 1
        last[partition] = offset


@in_every_protocol
@pytest.mark.parametrize("leaves", [False, True])
def test_member_that_was_away_too_long_does_not_take_commits_back(
    kafka: Kafka, t: str, g: str, protocol: str, *, leaves: bool
) -> None:
    fill(kafka, t, 30)
    settings = {**settings_of(protocol), "max.poll.interval.ms": 6000}
    values: list[int] = []
    stuck, free = threading.Event(), threading.Event()

    def once_too_slow(value: int) -> None:
        if value == 10 and not stuck.is_set():
            stuck.set()
            free.wait(60)
        values.append(value)

    flow = kafka.source(t, group_id=g, decode=int, settings=settings) | sink(once_too_slow)
    partition = Partition(Topic(t), 0)
    committed = []
    with flow.start(commit=OFTEN) as away:
        wait_for(stuck.is_set)
        with flow.start(commit=OFTEN) as other:
            wait_for(lambda: kafka.committed(g).get(partition) == 30)
            if leaves:  # a group without members takes commits of anybody
                other.stop()
            free.set()
            end = time.monotonic() + 5.0
            while time.monotonic() < end:
                committed.append(kafka.committed(g)[partition])
            add(kafka, t, range(30, 40))
            wait_for(lambda: kafka.committed(g)[partition] == 40)
            if not leaves:
                other.stop()
        away.stop()
    assert set(committed) == {30}
    assert set(values) == set(range(40))


@in_every_protocol
def test_function_that_fails_while_partitions_are_given_up_loses_nothing(
    kafka: Kafka, t: str, g: str, protocol: str
) -> None:
    fill(kafka, t, 30, partitions=2)
    first: list[int] = []
    second: list[int] = []
    source = kafka.source(t, group_id=g, decode=int, settings=settings_of(protocol))

    def write(numbers: list[int]) -> None:
        assert not first, "the second group, which is not full, is written when partitions go"
        first.extend(numbers)

    failing = (source | batch(20) | sink(write)).start(commit=OFTEN)
    wait_for(lambda: first and sum(kafka.committed(g).values()) > 0)
    with (source | sink(second.append)).start(commit=OFTEN) as other:
        with pytest.raises(StepFailed, match="which is not full"):
            failing.result(timeout=150.0)
        wait_for(lambda: sum(kafka.lag(g).values()) == 0)
        other.stop(timeout=120)
    assert set(first) | set(second) == set(range(30))
    assert not set(first) & set(second), "what was written had been committed"


@in_every_protocol
def test_member_that_was_away_too_long_joins_again_by_itself(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    fill(kafka, t, 30)
    settings = {**settings_of(protocol), "max.poll.interval.ms": 6000}
    values: list[int] = []

    def once_too_slow(value: int) -> None:
        if value == 10 and 10 not in values:
            values.append(value)
            time.sleep(9.0)
        values.append(value)

    flow = kafka.source(t, group_id=g, decode=int, settings=settings) | sink(once_too_slow)
    with flow.start(commit=OFTEN) as handle:
        wait_for(lambda: kafka.committed(g) == {Partition(Topic(t), 0): 30})
        handle.stop()
    assert set(values) == set(range(30))


@in_every_protocol
def test_static_member_that_restarts_goes_on_where_it_was(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    fill(kafka, t, 20, partitions=2)
    settings = {**settings_of(protocol), "group.instance.id": "one"}
    values: list[int] = []
    flow = kafka.source(t, group_id=g, decode=int, settings=settings) | sink(values.append)
    flow.run(until="end", timeout=120.0)
    add(kafka, t, range(20, 40), partitions=2)
    flow.run(until="end", timeout=120.0)
    assert sorted(values) == list(range(40))


@in_every_protocol
def test_bounded_run_ends_for_a_member_without_partitions(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    fill(kafka, t, 10)
    values: list[int] = []
    flow = kafka.source(t, group_id=g, decode=int, settings=settings_of(protocol)) | sink(values.append)
    handles = [flow.start(until="end", timeout=120.0, stop_timeout=60.0) for _ in range(3)]
    for handle in handles:
        handle.result(timeout=150.0)
    assert sorted(set(values)) == list(range(10))
