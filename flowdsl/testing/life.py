"""One life of a driven flow: from its start to its end or crash. Runs the real loop, in time that stands still."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from random import Random

from flowdsl.brokers.protocols import Client, Delivery, Outgoing, Settings
from flowdsl.compiler import new_run, prepare
from flowdsl.flow.execution import flush_seconds
from flowdsl.plan.nodes import Plan
from flowdsl.plan.policy import ErrorPolicy
from flowdsl.processing.loop import Loop
from flowdsl.testing.feed import Feed, FeedConsumer
from flowdsl.testing.virtual import VirtualClock
from flowdsl.testing.watching import Watch
from flowdsl.testing.workers import Chance, open_virtually
from flowdsl.types import BrokerValue, CommitPolicy, KafkaPayload, Partition, Topic

POLL_SECONDS = 0.1
"""A loop that waits looks at its pipeline at least so often."""


class DrivenClock:
    """A virtual clock on which nobody's sleep moves time, apart from a drain, which would wait for ever otherwise."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._drains = False

    def __call__(self) -> float:
        return self._clock()

    def utc(self) -> datetime:
        return self._clock.utc()

    def sleep(self, seconds: float) -> None:
        if self._drains:
            self._clock.advance(seconds)

    @contextmanager
    def draining(self) -> Generator[None]:
        self._drains = True
        try:
            yield
        finally:
            self._drains = False


class Acknowledging:
    """Implements ``Producer``: takes every record and acknowledges it at the next poll."""

    def __init__(self) -> None:
        self._taken: deque[tuple[Delivery, int]] = deque()
        self._sent = 0

    def expect(self, topic: str | None, partition: int | None = None) -> None:
        """There is every topic."""

    def send(self, records: Sequence[Outgoing], delivery: Delivery, first: int = 0) -> int:
        self._taken += [(delivery, first + index) for index in range(len(records))]
        delivery.waiting += len(records)
        return len(records)

    def poll(self, timeout: float = 0.0) -> None:  # noqa: ARG002  # everything is acknowledged at once
        while self._taken:
            delivery, index = self._taken.popleft()
            delivery.report(index, None)

    def produce(self, destination: Topic | Partition, payload: KafkaPayload) -> Future[BrokerValue[KafkaPayload]]:
        partition = destination if isinstance(destination, Partition) else Partition(destination, 0)
        future: Future[BrokerValue[KafkaPayload]] = Future()
        future.set_result(BrokerValue(payload, partition, self._sent))
        self._sent += 1
        return future

    def purge(self) -> None:
        self._taken.clear()

    def close(self, timeout: float) -> None:  # noqa: ARG002  # nothing to wait for
        self._taken.clear()


class Producing:
    """Gives every broker's sink of a run the same producer."""

    def __init__(self) -> None:
        self._producer = Acknowledging()

    def __call__(self, client: Client, settings: Settings) -> Acknowledging:  # noqa: ARG002  # nothing goes to a broker
        return self._producer


class Life:
    """A run of a flow over a feed."""

    def __init__(
        self, plan: Plan, feed: Feed, watch: Watch, clock: VirtualClock, commit: CommitPolicy, on_error: ErrorPolicy
    ) -> None:
        self._clock = DrivenClock(clock)
        chance = Chance(Random(0))  # noqa: S311  # repeatable on purpose
        self._run = run = new_run(
            self._clock,
            self._finish,
            producer=Producing(),
            delivered=watch.delivered,
            sink_function=watch.sink,
            instrument=watch.stage,
            flush_every=flush_seconds(commit),
            random=chance.random,
            open_workers=partial(open_virtually, chance=chance),
        )
        self._watch, self._feed = watch, feed
        self._consumer = FeedConsumer(feed)
        factory = prepare(plan, run, on_error)
        self._loop = Loop(self._consumer, (), factory, clock=self._clock, switch=run.switch, policy=commit)
        self._loop.begin()

    @property
    def is_over(self) -> bool:
        return self._loop.is_over

    @property
    def in_flight(self) -> int:
        return self._loop.gate.in_flight

    def turn(self) -> None:
        self._loop.turn()

    def assign(self, partitions: set[Partition]) -> None:
        self._consumer.assign(partitions)

    def revoke(self, partitions: set[Partition]) -> None:
        """Drain, commit, give up. Raises what the drain raised, once everything is over."""
        with self._clock.draining():
            self._consumer.revoke(partitions)
        error = self._loop.membership.error
        if error is not None:
            raise error

    def end(self, error: BaseException | None = None) -> None:
        with self._clock.draining():
            self._loop.end(error)

    def crash(self) -> None:
        """Gone, without a word to anybody."""
        self._loop.pipelines.drop()
        self._run.abandon()

    def progress(self) -> tuple[int, ...]:
        """Numbers that stay as they are while nothing happens."""
        committed = sum(self._feed.committed.values())
        return self._loop.feeder.taken, self._consumer.behind, self.in_flight, self._watch.seen, committed

    def next_moment(self) -> float | None:
        """When something may happen by itself; None where nothing will."""
        now = self._clock()
        pipeline = self._loop.pipelines.current
        moments = [self._loop.gate.deadline(), None if pipeline is None else pipeline.next_deadline()]
        if self.in_flight or not self._loop.feeder.is_empty:
            moments.append(now + POLL_SECONDS)
        return min((moment for moment in moments if moment is not None and moment > now), default=None)

    def _finish(self) -> None:
        self._loop.finish()
