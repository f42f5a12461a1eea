"""What stages know of the run they belong to: clock, switch, counts, and the hooks by which tests look in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any, TypeVar

from msgspec import Struct, field

from flowdsl.brokers.protocols import Client, Producer, Settings
from flowdsl.clock import Clock, Deadline
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.reactive.bell import Bell
from flowdsl.reactive.calling import not_closed
from flowdsl.reactive.workers import Job, Tools, WorkerPlan, Workers
from flowdsl.stages.ledger import Ledger
from flowdsl.stages.site import Site
from flowdsl.stages.switch import Switch
from flowdsl.stages.targets import SiteOf, Targets
from flowdsl.types import Partition

S = TypeVar("S")

CLOSE_SECONDS = 0.5
"""At least so long workers may take to end, however late it is."""
CLOSE_IN_PEACE = 3.0
"""So long at most, where nothing hurries."""
STILL_RUNNING = (
    "the run is over, but %s calls of %s in the step %r still run: they are left behind and end with the process"
)

logger = logging.getLogger("flowdsl")


class StepCount(Struct):
    """What went through one step since the run began."""

    name: str
    received: int = 0
    emitted: int = 0
    failed: int = 0
    drops: bool = False
    """Whether values that do not leave it were filtered."""
    ends: bool = False
    """Whether what it emits was delivered."""


def _for_real(plan: WorkerPlan, job: Job, concurrency: int, tools: Tools) -> Workers:
    return plan.open(job, concurrency, tools)


def _as_is(strategy: ProcessingStrategy[Any], _names: tuple[str, ...]) -> ProcessingStrategy[Any]:
    return strategy


class Run(Struct):
    """What all assignments of one run share."""

    clock: Clock
    switch: Switch
    producer: Callable[[Client, Settings], Producer]
    finish: Callable[[], None]
    """Ends the run normally: ``take`` has what it wanted."""
    flush_every: float = 1.0
    """Seconds after which a sink that buffers is flushed."""
    delivered: Callable[[str, list[Any]], None] | None = None
    """Told of the values that a sink got."""
    sink_function: Callable[[str, Any], Any] | None = None
    """Puts something else in the place of a user's sink."""
    instrument: Callable[[ProcessingStrategy[Any], tuple[str, ...]], ProcessingStrategy[Any]] = _as_is
    """Wraps each stage, with the names of its steps."""
    open_workers: Callable[[WorkerPlan, Job, int, Tools], Workers] = _for_real
    """Opens the workers of a step, or others in their place."""
    bell: Bell = field(default_factory=Bell)
    random: Random = field(default_factory=Random)
    """What is left to chance: the waits between attempts."""
    counts: dict[str, StepCount] = field(default_factory=dict[str, StepCount])
    states: dict[str, dict[Partition | None, Any]] = field(default_factory=dict[str, dict[Partition | None, Any]])
    """What steps with a state remember, by step and partition."""
    taken: dict[str, int] = field(default_factory=dict[str, int])
    """How many values each ``take`` has handed on."""
    results: list[Any] = field(default_factory=list[Any])
    """What ``to_list`` collects."""

    targets: Targets = field(default_factory=Targets)
    """The sinks that are objects, once they are open."""
    working: dict[str, tuple[Job, Workers]] = field(default_factory=dict[str, tuple[Job, Workers]])
    """The workers of steps, by step, once they are open."""

    def sink(self, name: str, target: Any, site_of: SiteOf) -> Any:
        """The target of a sink, or what stands in its place; opened once per run."""
        if name not in self.targets:
            stands_in = self.sink_function
            self.targets.open(name, target if stands_in is None else stands_in(name, target), site_of)
        return self.targets[name]

    def workers(self, plan: WorkerPlan, job: Job, concurrency: int) -> Workers:
        """The workers of a step; opened once per run."""
        if job.step not in self.working:
            tools = Tools(self.clock, self.bell)
            self.working[job.step] = job, self.open_workers(plan, job, concurrency, tools)
        return self.working[job.step][1]

    def abandon(self) -> None:
        """The process is gone, as a test has it: workers end without a word, and nothing else is closed."""
        while self.working:
            with suppress(Exception):
                self.working.popitem()[1][1].close(Deadline(self.clock, self.clock()))

    def shutdown(self) -> None:
        """Close what was opened. The first error is raised, after everything was tried."""
        first: BaseException | None = None
        now, ends_at = self.clock(), self.switch.ends_at
        deadline = Deadline(self.clock, now + CLOSE_IN_PEACE if ends_at is None else max(ends_at, now + CLOSE_SECONDS))
        while self.working:
            _, (job, workers) = self.working.popitem()
            try:
                left = workers.close(deadline)
            except Exception as error:  # noqa: BLE001  # a user's resource; the others still have to be closed
                first = first or not_closed(job, error)
            else:
                if left:
                    logger.warning(STILL_RUNNING, left, job.told or job.step, job.step)
        first = first or self.targets.close()
        if first is not None:
            raise first

    def count(self, name: str, *, drops: bool = False, ends: bool = False) -> StepCount:
        return self.counts.setdefault(name, StepCount(name, drops=drops, ends=ends))


class StepContext(Struct, frozen=True):
    """What one step of one assignment is made with."""

    site: Site
    run: Run
    ledger: Ledger
    count: StepCount

    @property
    def name(self) -> str:
        return self.site.name

    @property
    def clock(self) -> Clock:
        return self.run.clock
