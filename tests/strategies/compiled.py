"""Compiled flows as rows of the table: what their stages emit ends in the strategy that follows, message by message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic, sleep
from typing import Any

from flowdsl import Flow, LocalBroker, batch, broadcast, filter_, flat_map, map_, route, scan, tap, through
from flowdsl.compiler.compiling import prepare
from flowdsl.compiler.factory import new_run
from flowdsl.stages.context import Run
from flowdsl.strategies import KafkaPayload, Partition, ProcessingStrategy
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import Commit
from tests.strategies.doubles import P0, P1, Recorder

Next = ProcessingStrategy[Any]
Steps = Callable[[Flow[int]], Flow[Any]]
"""The steps under test, behind a source of numbers."""


class Ending:
    """Ends a flow in a recorder that is there already, and commits what that took."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> Next:
        self._recorder.commits.onward = commit
        return self._recorder


def compiled(steps: Steps) -> Callable[[Any, VirtualClock, Callable[[int], None]], Next]:
    def build(recorder: Recorder, clock: VirtualClock, touch: Callable[[int], None]) -> Next:
        flow = steps(LocalBroker().source("orders", group_id="contract", decode=int)) | through(Ending(recorder))
        run = new_run(clock)
        strategy = prepare(flow.plan, run).create_with_partitions(recorder.commits.answer, {P0: 0, P1: 0})
        _RUNS[strategy] = run
        return strategy

    return build


_RUNS: dict[Next, Run] = {}


def end_runs() -> None:
    """No thread of a compiled flow is left behind."""
    while _RUNS:
        _RUNS.popitem()[1].shutdown()


def calm(strategy: Next) -> None:
    """Wait until nothing of a compiled flow is under way on threads."""
    bell = _RUNS[strategy].bell
    until = monotonic() + 60.0
    while bell.under_way:
        assert monotonic() < until, "work elsewhere was not done"
        sleep(0.0005)
        strategy.poll()


def record(n: int) -> KafkaPayload:
    return KafkaPayload(None, str(n).encode())


def calls(numbers: Flow[int]) -> Flow[Any]:
    return numbers | map_(str) | map_(int) | tap(str) | filter_(lambda _: True)


def twice(numbers: Flow[int]) -> Flow[Any]:
    return numbers | flat_map(lambda n: (n, n))


def concurrent(**given: Any) -> Steps:
    return lambda numbers: numbers | map_(lambda n: n, **given)


def in_batches(numbers: Flow[int]) -> Flow[Any]:
    return numbers | batch(3, within=10.0)


def scanned(numbers: Flow[int]) -> Flow[Any]:
    return numbers | scan(lambda _, n: n, initial=0)


def branching(numbers: Flow[int]) -> Flow[Any]:
    return numbers | broadcast(map_(str) | map_(int), filter_(lambda _: False) | batch(3, within=10.0))


def routed(numbers: Flow[int]) -> Flow[Any]:
    return numbers | route(lambda _: "all", {"all": map_(str) | map_(int), "none": map_(str)})
