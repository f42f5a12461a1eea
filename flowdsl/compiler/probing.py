"""A plan to be looked at: probes stand between its steps, its sinks are gone, and failing records end in a list.

It compiles and runs as any other plan does, so what a preview shows is what a run does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from attrs import evolve, frozen
from msgspec import Struct, field
from msgspec.structs import replace

from flowdsl.brokers.protocols import Last
from flowdsl.chunks import Chunk
from flowdsl.errors import shown
from flowdsl.operators.branching import Branching
from flowdsl.operators.source import BrokerSource, MergedSource
from flowdsl.plan.branch import Branch
from flowdsl.plan.names import NamedPlan, Step
from flowdsl.plan.nodes import BranchInput, Operator, Plan, Source
from flowdsl.plan.policy import DeadLetter
from flowdsl.plan.shapes import Chaining
from flowdsl.records import Records
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import Done, Kernel
from flowdsl.stages.parts import Build, Part
from flowdsl.types import Partition, Record, Topic

Place = tuple[Partition, int]
"""Which record: its partition and offset."""


class Column(Struct, frozen=True):
    """One step. ``before``, ``after``: the probes around it; ``branches``: labels and probes of the branches in it."""

    name: str
    before: str
    after: str
    branches: tuple[tuple[str, str], ...] = ()


class Watch(Struct):
    """What the probes saw, as text at once: values may change later."""

    columns: list[Column] = field(default_factory=list[Column])
    records: dict[Place, Record[Any]] = field(default_factory=dict[Place, Record[Any]])
    passed: defaultdict[str, dict[Place, list[str]]] = field(
        default_factory=lambda: defaultdict[str, dict[Place, list[str]]](dict)
    )
    """By probe: what passed, at the record that completed it."""
    grouped: defaultdict[str, set[Place]] = field(default_factory=lambda: defaultdict[str, set[Place]](set))
    """By probe: the records that are in a group which another one completed."""
    failed: dict[tuple[Place, str], str] = field(default_factory=dict[tuple[Place, str], str])
    """By record and step."""

    def saw(self, probe: str, chunk: Chunk[Any]) -> None:
        for index, value in enumerate(chunk.values):
            *others, last = [window.place(position) for window, position, _ in chunk.origins.members(index)]
            self.passed[probe].setdefault(last, []).append(shown(value))
            self.grouped[probe].update(others)

    def read(self, chunk: Chunk[Any]) -> None:
        for index in range(len(chunk)):
            window, position, _ = chunk.origins.members(index)[0]
            self.records[window.place(position)] = window.record(position)

    def lost(self, record: Record[Any], window: Records) -> None:
        told = {name: (value or b"").decode() for name, value in record.headers if name.startswith("flowdsl-")}
        kind = told["flowdsl-exception"].rpartition(".")[2]
        partition = Partition(Topic(record.topic), record.partition) if record.topic else window.place(0)[0]
        place = partition, record.offset
        self.failed[place, told["flowdsl-step"]] = f"{kind}: {told['flowdsl-message']}"


def probed(plan: NamedPlan, watch: Watch, latest: int) -> tuple[Plan, DeadLetter]:
    """The plan with probes, and the policy to run it with. A source that waits for what comes shows the ``latest``."""
    letters = Plan(BranchInput(), (_Lost(watch=watch),))
    policy = DeadLetter(Branch("dead letters", letters.steps[0], letters))  # type: ignore[arg-type]  # an operator is callable
    return _Prober(watch, latest).plan(plan, plan.name), policy


class _Prober(Struct, frozen=True):
    watch: Watch
    latest: int

    def plan(self, plan: NamedPlan, probe: str) -> Plan:
        """``probe``: what the first one is called that values pass."""
        source, steps = self._begun(plan, probe)
        before = probe
        for step in plan.steps:
            if step.operator.closes and not step.operator.branches:
                break  # a sink
            steps += [self._step(step, before), _Probe(name=f"behind {step.name}", watch=self.watch, key=step.name)]
            before = step.name
        return Plan(source, tuple(steps))

    def _begun(self, plan: NamedPlan, probe: str) -> tuple[Source, list[Operator]]:
        source = plan.source
        first = _Probe(name=f"behind {probe}", watch=self.watch, key=probe)
        if isinstance(source, MergedSource):
            return evolve(source, plans=tuple(self.plan(each, each.name) for each in plan.merged)), [first]
        if isinstance(source, BranchInput):
            return source, [first]
        raw = f"{probe}, raw"
        self.watch.columns.append(Column(probe, raw, probe))
        reading = _Reading(name=probe, source=source, where=source.where)
        return self._raw(source, raw), [
            _Probe(name=f"behind {raw}", watch=self.watch, key=raw, first=True),
            reading,
            first,
        ]

    def _raw(self, source: Source, name: str) -> Source:
        """The source without its group, handing on every record as it is."""
        if not isinstance(source, BrokerSource):
            return evolve(source, name=name)
        start = Last(self.latest) if source.start == "latest" else source.start
        return evolve(source, name=name, group_id=None, decode=None, tombstones="keep", start=start)

    def _step(self, step: Step, before: str) -> Operator:
        probes = [(each.label, f"{step.name}, {each.label}") for each in step.branches]
        self.watch.columns.append(Column(step.name, before, step.name, tuple(probes)))
        operator = evolve(step.operator, name=step.name, on_error=None)
        if not isinstance(operator, Branching):
            return operator
        plans = [self.plan(each, probe) for each, (_, probe) in zip(step.branches, probes, strict=True)]
        ways = [replace(way, built=plan) for way, plan in zip(operator.ways, plans, strict=True)]
        return evolve(operator, ways=tuple(ways))


# -- the steps that look on -------------------------------------------------------------------------------------------


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class _Probe(Chaining):
    """Hands everything on. ``first``: values are records here, as they were read."""

    word = "probe"
    watch: Watch
    key: str
    first: bool = False

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (_ProbeKernel(build.step, build.handler, self),)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class _Reading(Chaining):
    """What a source does with the records that it reads, as a step of its own."""

    word = "source"
    source: Source

    def named_after(self) -> object:
        return self.source.named_after()

    def lower(self, build: Build) -> tuple[Part, ...]:
        return self.source.lower(build)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class _Lost(Chaining):
    """Where records end that failed."""

    word = "lost"
    watch: Watch

    @property
    def closes(self) -> bool:
        return True

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (_LostKernel(build.step, build.handler, self.watch),)


class _ProbeKernel(Kernel):
    def __init__(self, step: StepContext, handler: Handler, node: _Probe) -> None:
        super().__init__(step, handler)
        self._node = node

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        for value in inputs:
            done(value)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:  # noqa: ARG002  # the values themselves
        watch = self._node.watch
        if self._node.first:
            watch.read(chunk)
        watch.saw(self._node.key, chunk)
        return chunk


class _LostKernel(Kernel):
    def __init__(self, step: StepContext, handler: Handler, watch: Watch) -> None:
        super().__init__(step, handler)
        self._watch = watch

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        for value in inputs:
            done(value)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:  # noqa: ARG002  # where they came from
        for index in range(len(chunk)):
            window, position, _ = chunk.origins.members(index)[0]
            self._watch.lost(window.record(position), window)
        return Chunk([], chunk.mark, chunk.origins.part(0, 0))
