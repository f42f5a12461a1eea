"""One scene and its seeds: each is lived through, and told once more where a promise was broken."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from flowdsl.operators.source import BrokerSource, leaves
from flowdsl.testing.simulation.failed import Report, SimulationFailed
from flowdsl.testing.simulation.faults import Dice, Weather
from flowdsl.testing.simulation.learning import learn, spread
from flowdsl.testing.simulation.oracle import ALL_CHECKS, Oracle, Violation
from flowdsl.testing.simulation.outputs import Expectations, Trace
from flowdsl.testing.simulation.rest import live
from flowdsl.testing.simulation.scene import Scene, is_single, keeps_order
from flowdsl.testing.simulation.world import World
from flowdsl.types import Record

MEMBERS = 3
"""As many as there are at a time, unless somebody says so."""


class Simulation(Struct, frozen=True):
    """One scene, and what is known of it."""

    scene: Scene
    expected: Expectations
    trace: Trace | None
    checks: frozenset[str]
    freely: bool
    """Whether the records may be spread over the partitions anyhow."""

    @classmethod
    def of(cls, scene: Scene, trace: Trace | None, checks: frozenset[str], seed: int) -> Simulation:
        """Learn what to expect. Raises SimulationFailed, with any seed, where promises are broken without any faults."""
        try:
            expected, independent = learn(scene, trace)
        except Violation as violation:
            again = cls(scene, Expectations(()), trace, checks, freely=False).again(seed)
            raise SimulationFailed(
                seed, violation.check, str(violation), violation.trace, again
            ) from violation.__cause__
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

    def told(self, seed: int) -> Sequence[str]:
        """What happens with one seed, line by line, up to a promise that is broken."""
        world, _ = self._world(seed, keeps_trace=True)
        with suppress(Violation):
            live(world)
        return world.trace or ()

    def _failed(self, seed: int, seen: Violation) -> SimulationFailed:
        """The same once more, this time with everything written down."""
        world, _ = self._world(seed, keeps_trace=True)
        try:
            live(world)
        except Violation as violation:
            return SimulationFailed(seed, violation.check, str(violation), world.trace or (), self.again(seed))
        text = (
            f"{seen}\n  The second run of the seed did not: a function of the flow does not give the same result for the "
            "same input, or keeps a state that outlives a run"
        )
        return SimulationFailed(seed, seen.check, text, world.trace or (), self.again(seed))

    def again(self, seed: int) -> str:
        """The call that repeats a seed."""
        members = "" if self.scene.members == MEMBERS else f", members={self.scene.members}"
        trace = "" if self.trace is None else ", trace=..."
        checks = "" if self.checks == ALL_CHECKS else f", checks={sorted(self.checks)}"
        return f"simulate(flow, records, seeds=[{seed}]{members}{trace}{checks})"

    def _world(self, seed: int, *, keeps_trace: bool) -> tuple[World, Oracle]:
        random = Random(seed)  # repeatable on purpose
        weather = Weather.drawn(random)
        records: list[Record[Any]] = spread(self.scene.records, random, weather.partitions, freely=self.freely)
        oracle = Oracle(self.expected, self.trace, self.checks, ordered=keeps_order(self.scene.plan))
        scene = replace(self.scene, records=records)
        return World(scene, Dice(random, weather), oracle, keeps_trace=keeps_trace), oracle
