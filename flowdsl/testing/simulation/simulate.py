"""``simulate``: many seeds of one flow, and a report, or the seed that broke a promise."""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from flowdsl.errors import shown
from flowdsl.flow.arguments import checked_values
from flowdsl.interface.arguments import count
from flowdsl.operators.checks import function
from flowdsl.plan.nodes import Upstream
from flowdsl.testing.given import closed
from flowdsl.testing.simulation.failed import Report
from flowdsl.testing.simulation.oracle import ALL_CHECKS
from flowdsl.testing.simulation.outputs import Trace
from flowdsl.testing.simulation.scene import scene_of
from flowdsl.testing.simulation.seeds import MEMBERS, Simulation


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
    scene = scene_of(closed(flow).plan, list(checked_values(records, "records")), count(members, "members"))
    wanted, which = _checked(checks), _seeds(seeds)
    if trace is not None:
        function(trace, "trace", lazy=True)
    with _quiet():
        simulation = Simulation.of(scene, trace, wanted, next(iter(which)))
        report = Report(0, 0, 0, 0.0)
        for seed in which:
            report += simulation.one(seed)
    return report


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
