"""Chains of built-in strategies, put together at random, with records that are invalid and steps that reject.

Whatever is committed is done: it was handed on to the end, was filtered, or is in its dead letter topic. Several lives
of a processor, of which some end in mid-run; then all of it is done. In virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from flowdsl.brokers.local.client import LocalClient
from flowdsl.brokers.local.waiter import NoWait
from flowdsl.flow.face import Broker
from flowdsl.processing import IMMEDIATE, CommitPolicy, DlqPolicy, InvalidMessage, KafkaDlqProducer
from flowdsl.processing.invalid import InvalidRecords
from flowdsl.processing.loop import Loop
from flowdsl.stages.switch import Switch
from flowdsl.strategies import (
    BatchStep,
    BrokerValue,
    Commit,
    CommitOffsets,
    FilterStep,
    KafkaPayload,
    Message,
    MessageRejected,
    Partition,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    RunTask,
    Topic,
    UnbatchStep,
    Unfold,
)
from flowdsl.testing.virtual import VirtualClock
from tests.strategies.doubles import Passing

SEEDS = 400
TOPIC = Topic("orders")
VALUES = [b"%02d" % number for number in range(24)]
POLICIES = (IMMEDIATE, CommitPolicy(None, 3), CommitPolicy(0.001, None))
LIVES = 4
TURNS = 1000


def place(value: bytes) -> tuple[Partition, int]:
    return Partition(TOPIC, int(value) % 2), int(value) // 2


def value_of(payload: Any) -> bytes:
    value: Any = payload.value if isinstance(payload, KafkaPayload) else payload
    return bytes(value)


class Fitful(Passing):
    """Rejects now and then."""

    def __init__(self, downstream: ProcessingStrategy[Any], random: Random) -> None:
        super().__init__(downstream)
        self._random = random

    def submit(self, message: Message[Any]) -> None:
        if self._random.random() < 0.35:
            raise MessageRejected
        super().submit(message)


class Chains(ProcessingStrategyFactory[KafkaPayload]):
    """Another chain for each assignment. ``done``: the values that need nothing more."""

    def __init__(self, random: Random, clock: VirtualClock) -> None:
        self.random, self.clock = random, clock
        self.invalid = set(random.sample(VALUES, random.randint(0, 10)))
        self.done: set[bytes] = set()

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        random, clock = self.random, self.clock
        links: list[Callable[[ProcessingStrategy[Any]], ProcessingStrategy[Any]]] = [
            lambda after: RunTask(lambda message: value_of(message.payload), after, clock=clock),
            lambda after: RunTask(self.check, after, clock=clock),
            lambda after: FilterStep(self.is_wanted, after, clock=clock),
            lambda after: FilterStep(self.is_wanted, after, CommitPolicy(None, 2), clock=clock),
            lambda after: Unfold(lambda payload: [BrokerValue(value_of(payload), *place(value_of(payload)))], after, clock=clock),
        ]  # fmt: skip
        grouped: ProcessingStrategy[Any] = UnbatchStep(RunTask(self.keep, CommitOffsets(commit)), clock=clock)
        chain: ProcessingStrategy[Any] = random.choice(
            [
                RunTask(self.keep, Fitful(CommitOffsets(commit), random), clock=clock),
                BatchStep(3, 0.005, Fitful(grouped, random), clock=clock),
            ]
        )
        for link in random.choices(links, k=random.randint(1, 4)):
            chain = link(Fitful(chain, random) if random.random() < 0.7 else chain)
        return chain

    def check(self, message: Message[Any]) -> bytes:
        value = value_of(message.payload)
        if value in self.invalid and self.random.random() < 0.8:
            raise InvalidMessage.from_value(message)
        return value

    def is_wanted(self, message: Message[Any]) -> bool:
        value = value_of(message.payload)
        if value.endswith(b"7"):
            self.done.add(value)
        return not value.endswith(b"7")

    def keep(self, message: Message[Any]) -> None:
        self.done.add(value_of(message.payload))


class World:
    """One broker, and the lives of a processor on it."""

    def __init__(self, seed: int) -> None:
        self.random, self.clock = Random(seed), VirtualClock()  # noqa: S311  # repeatable on purpose
        self.broker = Broker(LocalClient(clock=self.clock, waiter=NoWait(), partitions=2))
        self.broker.write(TOPIC.name, VALUES, partition=lambda value: int(value) % 2)
        self.chains = Chains(self.random, self.clock)

    @property
    def committed(self) -> int:
        return sum(self.broker.committed("g").values())

    def done(self) -> set[bytes]:
        letters = self.broker.read("dead") if "dead" in self.broker.topics() else []
        return self.chains.done | {each.value for each in letters if each.value is not None}

    def check(self) -> None:
        ends = self.broker.committed("g")
        below = {value for value in VALUES for at, offset in (place(value),) if offset < ends.get(at, 0)}
        assert below <= self.done(), f"{below - self.done()} is committed and not done"

    def live(self, turns: int) -> None:
        policy = DlqPolicy(KafkaDlqProducer(self.broker.producer(), Topic("dead")))
        loop = Loop(
            self.broker.consumer(group_id="g"),
            [TOPIC.name],
            self.chains,
            clock=self.clock,
            switch=Switch(self.clock),
            policy=self.random.choice(POLICIES),
            stop_timeout=self.random.choice([0.0, 0.002, 1.0]),
            invalid=InvalidRecords(policy, self.clock),
        )
        loop.begin()
        while turns and self.committed < len(VALUES):
            turns -= 1
            loop.turn()
            self.clock.sleep(self.random.choice([0.0, 0.001, 0.01]))
            self.check()
        loop.switch.stop()
        loop.end()
        self.check()


def test_what_is_committed_is_done_whatever_the_chain() -> None:
    for seed in range(SEEDS):
        world = World(seed)
        for _ in range(LIVES):
            world.live(turns=world.random.randint(1, 12))
        world.live(TURNS)
        assert world.committed == len(VALUES), f"seed {seed}"
        assert world.done() == set(VALUES), f"seed {seed}"
