"""``simulate``: many seeds of one flow, and a report, or the seed that broke a promise."""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from random import Random
from typing import Any

from attrs import evolve, frozen

from flowdsl.errors import shown
from flowdsl.operators.checks import count, function
from flowdsl.operators.source import BrokerSource, leaves
from flowdsl.plan.nodes import Upstream
from flowdsl.testing.given import closed
from flowdsl.testing.simulation.failed import Report, SimulationFailed
from flowdsl.testing.simulation.faults import Dice, Weather
from flowdsl.testing.simulation.learning import learn, spread
from flowdsl.testing.simulation.oracle import ALL_CHECKS, Oracle, Violation
from flowdsl.testing.simulation.outputs import Expectations, Trace
from flowdsl.testing.simulation.rest import live
from flowdsl.testing.simulation.scene import Scene, is_single, keeps_order, scene_of
from flowdsl.testing.simulation.world import World
from flowdsl.types import Record

MEMBERS = 3


def simulate(
    flow: Upstream,
    records: Iterable[Any],
    *,
    seeds: int | Collection[int] = 500,
    members: int = MEMBERS,
    trace: Trace | None = None,
    checks: Collection[str] = ALL_CHECKS,
) -> Report:
    """Run a flow on a simulated broker, once for each seed, with everything that can go wrong.

    ``records``: raw values, each unlike the others, which go to the topics of the flow in turn; or ``Record`` where
    topics, partitions, keys or headers matter. ``seeds``: how many, or which. ``members``: at most so many at a time.
    ``trace``: from an output to the records that it stands for; by default an output is taken apart (lists are
    flattened) and compared with a run without faults. ``checks``: some of ``ALL_CHECKS``.

    Sinks are replaced by recorders, so that no sink function runs; all other functions do, also in runs without faults
    beforehand. Deterministic: the same seed gives the same trace. Raises SimulationFailed, TypeError and ValueError for
    bad arguments, ValueError for records that are alike or outputs that cannot be traced, FlowDefinitionError, and what
    the flow or ``trace`` raises by itself.

    >>> from flowdsl import LocalBroker, batch, sink
    >>> flow = LocalBroker().source("orders", group_id="g") | batch(3) | sink(print)
    >>> simulate(flow, [b"a", b"b", b"c", b"d"], seeds=5).seeds
    5
    """
    scene = scene_of(closed(flow).plan, list(records), count(members, "members"))
    wanted, which = _checked(checks), _seeds(seeds)
    if trace is not None:
        function(trace, "trace", lazy=True)
    with _quiet():
        simulation = _Simulation.of(scene, trace, wanted)
        report = Report(0, 0, 0, 0.0)
        for seed in which:
            report += simulation.one(seed)
    return report


@frozen
class _Simulation:
    """One scene, and what is known of it."""

    scene: Scene
    expected: Expectations
    trace: Trace | None
    checks: frozenset[str]
    freely: bool
    """Whether the records may be spread over the partitions anyhow."""

    @classmethod
    def of(cls, scene: Scene, trace: Trace | None, checks: frozenset[str]) -> _Simulation:
        expected, independent = learn(scene, trace)
        given = any(record.partition for record in scene.records)
        reads_topics = all(isinstance(source, BrokerSource) for source in leaves(scene.plan.source))
        freely = independent and not given and (reads_topics or is_single(scene.plan))
        return cls(scene, expected, trace, checks, freely)

    def one(self, seed: int) -> Report:
        """One seed. Raises SimulationFailed."""
        world, oracle = self._world(seed, keeps_trace=False)
        try:
            live(world)
        except Violation as violation:
            raise self._failed(seed, violation) from violation.__cause__
        return Report(1, world.lives, oracle.replays, world.longest_without_commit)

    def _failed(self, seed: int, seen: Violation) -> SimulationFailed:
        """The same once more, this time with everything written down."""
        world, _ = self._world(seed, keeps_trace=True)
        try:
            live(world)
        except Violation as violation:
            return SimulationFailed(seed, violation.check, str(violation), world.trace or (), self._again(seed))
        text = (
            f"{seen}\n  The second run of the seed did not: a function of the flow does not give the same result for the "
            "same input, or keeps a state that outlives a run"
        )
        return SimulationFailed(seed, seen.check, text, world.trace or (), self._again(seed))

    def _again(self, seed: int) -> str:
        members = "" if self.scene.members == MEMBERS else f", members={self.scene.members}"
        trace = "" if self.trace is None else ", trace=..."
        checks = "" if self.checks == ALL_CHECKS else f", checks={sorted(self.checks)}"
        return f"simulate(flow, records, seeds=[{seed}]{members}{trace}{checks})"

    def _world(self, seed: int, *, keeps_trace: bool) -> tuple[World, Oracle]:
        random = Random(seed)  # repeatable on purpose
        weather = Weather.drawn(random)
        records: list[Record[Any]] = spread(self.scene.records, random, weather.partitions, freely=self.freely)
        oracle = Oracle(self.expected, self.trace, self.checks, ordered=keeps_order(self.scene.plan))
        scene = evolve(self.scene, records=records)
        return World(scene, Dice(random, weather), oracle, keeps_trace=keeps_trace), oracle


def _seeds(seeds: int | Collection[int]) -> Collection[int]:
    if isinstance(seeds, Collection):
        if not seeds or not all(isinstance(seed, int) for seed in seeds):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
            msg = f"seeds must be a number of seeds, or a collection of numbers that is not empty, not {shown(seeds)}"
            raise ValueError(msg)
        return seeds
    return range(count(seeds, "seeds"))


def _checked(checks: Collection[str]) -> frozenset[str]:
    known = ", ".join(sorted(ALL_CHECKS))
    if isinstance(checks, str) or not checks:
        msg = f"checks must be a collection of some of {known}, not {shown(checks)}"
        raise ValueError(msg)
    unknown = sorted(set(checks) - ALL_CHECKS)
    if unknown:
        msg = f"checks must be some of {known}, not {', '.join(unknown)}"
        raise ValueError(msg)
    return frozenset(checks)


@contextmanager
def _quiet() -> Generator[None]:
    """What is logged in thousands of broken lives would bury everything else."""
    logger = logging.getLogger("flowdsl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
