"""One run of a flow: its consumer, its pipelines, its loop, and what it counted."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from flowdsl.brokers.memory import MemoryConsumer
from flowdsl.brokers.naming import check_matches
from flowdsl.brokers.protocols import Consumer, Topics
from flowdsl.clock import SYSTEM_CLOCK, Clock, waitable
from flowdsl.compiler import new_run, prepare
from flowdsl.errors import BrokerError
from flowdsl.flow.stats import Stats, StepStats
from flowdsl.operators.source import BrokerSource, all_topics, leaves
from flowdsl.operators.values import ValuesSource
from flowdsl.plan.names import NamedPlan
from flowdsl.plan.nodes import Plan, Source
from flowdsl.plan.policy import STOP, ErrorPolicy
from flowdsl.processing.bounds import Bounds, Until
from flowdsl.processing.loop import Loop
from flowdsl.stages.context import StepCount
from flowdsl.stages.switch import Switch
from flowdsl.types import NEVER, CommitPolicy

MOST_BETWEEN_FLUSHES = 1.0
"""Seconds; a sink that buffers is flushed at least so often."""


class Options(Struct, frozen=True, kw_only=True):
    """How a flow is to run; durations in seconds."""

    count: int | None = None
    timeout: float | None = None
    until: Until = None
    commit: CommitPolicy = NEVER
    on_error: ErrorPolicy = STOP
    stop_timeout: float = 20.0
    progress: bool = False


class Execution:
    """Runs once. ``stop`` may be called from any thread and from signal handlers."""

    def __init__(self, plan: Plan, options: Options, clock: Clock = SYSTEM_CLOCK) -> None:
        self.options, self._clock = options, clock
        self._source = plan.source
        self._context = new_run(clock, self._finish, flush_every=flush_seconds(options.commit))
        factory = prepare(plan, self._context, options.on_error)
        self.plan, self._factory = factory.plan, factory
        values_only = not looks_at_records(self.plan, options.on_error)
        consumer, topics = open_source(plan.source, self._context.switch, values_only=values_only)
        consumer.commits_start = options.commit != NEVER
        self.bounds = Bounds(clock, count=options.count, until=options.until)
        self._loop = Loop(
            consumer,
            topics,
            factory,
            clock=clock,
            switch=self._context.switch,
            policy=options.commit,
            bounds=self.bounds,
            timeout=options.timeout,
            stop_timeout=options.stop_timeout,
            on_ready=self._became_ready,
            bell=self._context.bell,
        )
        self._ready, self._was_ready = threading.Event(), False
        self._over = threading.Event()
        self._began = clock()
        self._ended: float | None = None
        self.is_bounded = self.bounds.is_bounded or all(map(_ends, leaves(plan.source)))

    def run(self) -> None:
        """Run to the end. Raises what ended it."""
        try:
            try:
                self._look_for_topics()
            except BrokerError as missing:
                self._loop.end(missing)
            with _timer(waitable(self.options.timeout), self._context.switch.time_out):
                self._loop.run()
        finally:
            self._ended = self._clock()
            self._over.set()
            self._ready.set()

    def stop(self) -> None:
        """End after the record in hand: drain, commit, leave."""
        self._context.switch.stop()

    def abandon(self) -> None:
        """End at once: nothing is drained or committed."""
        self._context.switch.abandoned = True
        self._context.switch.stop()

    @property
    def results(self) -> list[Any]:
        """What ``to_list`` collected."""
        return self._context.results

    def wait_ready(self, seconds: float | None) -> bool:
        return self._ready.wait(seconds) and self._was_ready

    @property
    def interrupted(self) -> bool:
        """Whether somebody ended it before its end."""
        return self._context.switch.stopping and not self._context.switch.timed_out

    def progress(self) -> tuple[int, int | None]:
        """How many records were read, and of how many, where that is known."""
        return self._loop.feeder.taken, self.bounds.total

    def stats(self) -> Stats:
        counts = list(self._context.counts.values())
        return Stats(
            read=self._loop.feeder.taken,
            delivered=sum(count.emitted for count in counts if count.ends),
            filtered=sum(count.received - count.failed - count.emitted for count in counts if count.drops),
            failed=sum(count.failed for count in counts),
            in_flight=self._factory.ledger.in_flight if self._ended is None else 0,
            committed=dict(self._loop.gate.committed),
            elapsed=(self._clock() if self._ended is None else self._ended) - self._began,
            steps=tuple(self._steps()),
        )

    def _steps(self) -> Iterator[StepStats]:
        """In the order of the plan; last, what the dead letters of the run passed."""
        counts = dict(self._context.counts)
        sources = [each.name for each in self.plan.all_sources()]
        taken = self._loop.feeder.taken
        for name in dict.fromkeys([*self.plan.all_names(), *counts]):
            count = counts.get(name) or StepCount(name)  # of a run that never had a pipeline
            is_silent = not (count.received or count.failed)  # a source that changes nothing does not count
            if name in sources and is_silent and len(sources) == 1:
                yield StepStats(name, taken, taken)
            elif name not in sources or not is_silent:
                yield StepStats(name, count.received, count.emitted)

    def _look_for_topics(self) -> None:
        """Raise TopicNotFound if the run has an end, and a pattern matches nothing that could be read up to there."""
        if self.options.until is None:
            return
        for source in leaves(self._source):
            if isinstance(source, BrokerSource) and isinstance(source.topics, re.Pattern):
                check_matches(source.topics, source.client.topics(), source.client.name)

    def _became_ready(self) -> None:
        self._was_ready = True
        self._ready.set()

    def _finish(self) -> None:
        self._loop.finish()


@contextmanager
def _timer(seconds: float | None, time_out: Callable[[], None]) -> Generator[None]:
    """Ends a slice of records whose functions turned slow: the loop itself looks at the clock between slices only."""
    timer = None if seconds is None else threading.Timer(seconds, time_out)
    if timer is not None:
        timer.name, timer.daemon = "flowdsl-timeout", True
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
            timer.join()


def flush_seconds(policy: CommitPolicy) -> float:
    """How often a sink that buffers is flushed: no later than its offsets are wanted."""
    seconds = policy.min_commit_frequency_sec
    if policy.min_commit_messages is not None:
        return 0.0
    return MOST_BETWEEN_FLUSHES if seconds is None else min(seconds, MOST_BETWEEN_FLUSHES)


def open_source(source: Source, switch: Switch, *, values_only: bool) -> tuple[Consumer, Topics]:
    """The one consumer of a flow, and what it subscribes to."""
    sources = leaves(source)
    in_memory = [each for each in sources if isinstance(each, ValuesSource)]
    if in_memory:
        return MemoryConsumer([each.open() for each in in_memory], switch), ("",)
    brokers = [each for each in sources if isinstance(each, BrokerSource)]
    first = brokers[0]
    consumer = first.client.consumer(
        group_id=first.group_id,
        start=first.start,
        on_gap=first.on_gap,
        settings=dict(first.settings),
        values_only=values_only,
    )
    return consumer, all_topics(brokers)


def looks_at_records(plan: NamedPlan, on_error: ErrorPolicy) -> bool:
    """Whether anything in a plan asks for more of what was read than its value and place."""
    return on_error.letters is not None or any(
        step.operator.looks_at_records or step.dead_letters is not None for step in plan.all_steps()
    )


def _ends(source: Source) -> bool:
    """Whether a source comes to its end by itself."""
    return isinstance(source, ValuesSource) and source.is_bounded
