"""A compiled flow: a factory of pipelines, each for one assignment, which share the counts and states of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowdsl.brokers.protocols import Client, Producer, Settings
from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.compiler.building import Builder
from flowdsl.interface.strategy import ProcessingStrategy, ProcessingStrategyFactory
from flowdsl.plan.names import NamedPlan
from flowdsl.plan.policy import ErrorPolicy
from flowdsl.stages.context import Run
from flowdsl.stages.ledger import Ledger
from flowdsl.stages.switch import Switch
from flowdsl.types import Commit, Partition

PRODUCER_CLOSE_SECONDS = 5.0


class Producers:
    """One producer for each broker and settings, opened when a pipeline first needs it."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, tuple[tuple[str, Any], ...]], Producer] = {}

    def __call__(self, client: Client, settings: Settings) -> Producer:
        key = id(client), tuple(sorted(settings.items()))
        if key not in self._open:
            self._open[key] = client.producer(settings=settings)
        return self._open[key]

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close(PRODUCER_CLOSE_SECONDS)


def new_run(clock: Clock = SYSTEM_CLOCK, finish: Callable[[], None] = lambda: None, **hooks: Any) -> Run:
    """What the assignments of a run share."""
    hooks.setdefault("producer", Producers())
    return Run(clock=clock, switch=Switch(clock), finish=finish, **hooks)


class FlowFactory(ProcessingStrategyFactory[Any]):
    """Accepts chunks from our own loop, and single messages from any other."""

    takes_chunks = True

    def __init__(self, plan: NamedPlan, run: Run, on_error: ErrorPolicy, letters: NamedPlan | None) -> None:
        self.plan, self.run, self._on_error, self._letters = plan, run, on_error, letters
        self.ledger = Ledger()
        """That of the current assignment, or of the last one."""
        self._left_at: dict[Partition, int] = {}

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> ProcessingStrategy[Any]:
        self._forget(partitions)
        builder = Builder(self.plan, self.run, commit, partitions, self._on_error, self._letters)
        self.ledger = builder.ledger
        return builder.build()

    def shutdown(self) -> None:
        try:
            self.run.shutdown()
        finally:
            close = getattr(self.run.producer, "close", None)
            if close is not None:
                close()

    def _forget(self, partitions: Mapping[Partition, int]) -> None:
        """Drop states of partitions that do not go on exactly where the last assignment left them."""
        unfinished = self.ledger.unfinished()
        self._left_at.update(self.ledger.committable())
        for states in self.run.states.values():
            for lane in list(states):
                if lane is None:
                    goes_on = unfinished == set()
                else:
                    is_clean = unfinished is not None and lane not in unfinished
                    goes_on = is_clean and partitions.get(lane) == self._left_at.get(lane)
                if not goes_on:
                    del states[lane]
        self._left_at.update(partitions)
