"""``simulate``: many seeds of one flow, and a report, or the seed that broke a promise."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from attrs import evolve, frozen

from flowdsl.errors import FlowError
from flowdsl.operators.branching import all_close
from flowdsl.operators.checks import count
from flowdsl.operators.source import BrokerSource, IterableSource, leaves
from flowdsl.plan.names import named
from flowdsl.plan.nodes import Plan, Upstream
from flowdsl.plan.policy import Stop
from flowdsl.testing.simulation.faults import Dice, Weather
from flowdsl.testing.simulation.learning import learn, spread
from flowdsl.testing.simulation.oracle import ALL_CHECKS, Expectations, Oracle, Trace, Violation
from flowdsl.testing.simulation.world import Scene, World
from flowdsl.types import Record

SHOWN_LINES = 80


class SimulationFailed(FlowError):  # noqa: N818  # named for what happened
    """A promise was broken. ``seed``: in which run; ``check``: which promise; ``trace``: the run, line by line."""

    def __init__(self, seed: int, check: str, reason: str, trace: Sequence[str]) -> None:
        super().__init__(seed, check, reason, trace)
        self.seed, self.check, self.reason, self.trace = seed, check, reason, tuple(trace)

    def __str__(self) -> str:
        left_out = len(self.trace) - SHOWN_LINES
        start = f"  ... {left_out} lines before, see .trace\n" if left_out > 0 else ""
        lines = "\n".join(f"  {line}" for line in self.trace[-SHOWN_LINES:])
        return (
            f"seed {self.seed} broke the promise {self.check!r}: {self.reason}\n{start}{lines}\n"
            f"  again: simulate(flow, records, seeds=[{self.seed}])"
        )


@frozen
class Report:
    """What a simulation saw. ``longest_without_commit`` in virtual seconds."""

    seeds: int
    lives: int
    replays: int
    longest_without_commit: float


def simulate(
    flow: Upstream,
    records: Sequence[Any],
    *,
    seeds: int | Collection[int] = 500,
    members: int = 3,
    trace: Trace | None = None,
    checks: Collection[str] = ALL_CHECKS,
) -> Report:
    """Run a flow on a simulated broker, once for each seed, with everything that can go wrong.

    ``records``: raw values, each unlike the others, or ``Record`` where topics, partitions, keys or headers matter.
    ``seeds``: how many, or which. ``members``: at most so many at a time. ``trace``: from an output to the records that
    it stands for; by default an output is taken apart (lists are flattened) and compared with a run without faults.
    Sinks are replaced by recorders, so that no sink function runs; all other functions do.

    Deterministic: the same seed gives the same trace. Raises SimulationFailed, ValueError for records that are alike or
    outputs that cannot be traced, and what the flow raises by itself.
    """
    wanted = _checked(checks)
    plan = _closed(flow)
    count(members, "members")
    scene = _scene(plan, records, members)
    with _quiet():
        expected, freely = learn(scene, trace)
        freely = freely and not any(isinstance(record, Record) for record in records) and _single(plan)
        report = Report(0, 0, 0, 0.0)
        for seed in range(count(seeds, "seeds")) if isinstance(seeds, int) else seeds:
            report = _one(scene, expected, trace, wanted, seed, freely, report)
    return report


def _one(
    scene: Scene,
    expected: Expectations,
    trace: Trace | None,
    checks: frozenset[str],
    seed: int,
    freely: bool,
    report: Report,
) -> Report:
    world, oracle = _world(scene, expected, trace, checks, seed, freely, keeps_trace=False)
    try:
        world.run()
    except Violation:
        again, _ = _world(scene, expected, trace, checks, seed, freely, keeps_trace=True)
        try:
            again.run()
        except Violation as violation:
            raise SimulationFailed(seed, violation.check, str(violation), again.trace or ()) from violation.__cause__
        raise
    return Report(
        report.seeds + 1,
        report.lives + world.lives,
        report.replays + oracle.replays,
        max(report.longest_without_commit, world.longest_without_commit),
    )


def _world(
    scene: Scene,
    expected: Expectations,
    trace: Trace | None,
    checks: frozenset[str],
    seed: int,
    freely: bool,
    *,
    keeps_trace: bool,
) -> tuple[World, Oracle]:
    random = Random(seed)  # noqa: S311  # repeatable on purpose
    weather = Weather.drawn(random)
    laid = evolve(scene, records=spread(scene.records, random, weather.partitions, freely=freely))
    oracle = Oracle(expected, trace, checks, ordered=_keeps_order(scene.plan))
    return World(laid, Dice(random, weather), oracle, keeps_trace=keeps_trace), oracle


def _scene(plan: Plan, records: Sequence[Any], members: int) -> Scene:
    sources = leaves(plan.source)
    first = sources[0]
    topic = ""
    topics: Any = ("",)
    if isinstance(first, BrokerSource):
        from_brokers = [each for each in sources if isinstance(each, BrokerSource)]
        names = [name for each in from_brokers if isinstance(each.topics, tuple) for name in each.topics]
        given = {record.topic for record in records if isinstance(record, Record)}
        topics = tuple(dict.fromkeys([*names, *sorted(given)]))
        topic = next(iter(topics), "")
    in_memory = len([each for each in sources if isinstance(each, IterableSource)])
    made = [_record(value, topic, index, index % max(1, in_memory)) for index, value in enumerate(records)]
    _refuse_alike(made)
    covered = {record.topic for record in made}
    steps = list(named(plan).all_steps())
    may_fail = frozenset(s.name for s in steps if s.operator.closes and isinstance(s.operator.on_error or Stop(), Stop))
    patience = max((getattr(step.operator, "within", None) or 0.0 for step in steps), default=0.0)
    return Scene(plan, tuple(name for name in topics if name in covered), made, members, may_fail, patience)


def _record(value: Any, topic: str, index: int, partition: int) -> Record[Any]:
    if isinstance(value, Record):
        record: Record[Any] = value
        return record
    return Record(topic, partition, index, None, value)


def _refuse_alike(records: Sequence[Record[Any]]) -> None:
    seen: set[str] = set()
    for record in records:
        told = repr((record.topic, record.key, record.value, record.headers))
        if told in seen:
            msg = f"records must be unlike each other, so that their outputs can be told apart, but there are two of {record.value!r}"
            raise ValueError(msg)
        seen.add(told)
    if not records:
        msg = "records must not be empty"
        raise ValueError(msg)


def _single(plan: Plan) -> bool:
    return len(leaves(plan.source)) == 1


def _keeps_order(plan: Plan) -> bool:
    """Whether values stay in order: not where open branches or several flows go on as one."""
    branching = [step.operator for step in named(plan).all_steps() if step.branches]
    return _single(plan) and all(all_close(operator.branches) for operator in branching)


def _checked(checks: Collection[str]) -> frozenset[str]:
    unknown = sorted(set(checks) - ALL_CHECKS)
    if unknown:
        msg = f"checks must be some of {', '.join(sorted(ALL_CHECKS))}, not {', '.join(unknown)}"
        raise ValueError(msg)
    return frozenset(checks)


def _closed(flow: Upstream) -> Plan:
    if not isinstance(flow, Upstream) or not flow.plan.closed:  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
        msg = "simulate takes a flow that ends in a sink"
        raise TypeError(msg)
    return flow.plan


@contextmanager
def _quiet() -> Iterator[None]:
    """What is logged in thousands of broken lives would bury everything else."""
    logger = logging.getLogger("flowdsl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
