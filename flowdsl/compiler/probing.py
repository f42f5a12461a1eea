"""A plan to be looked at: probes stand between its steps, its sinks are gone, and failing records end in a list.

It compiles and runs as any other plan does, so what a preview shows is what a run does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
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

    def saw(self, probe: str, chunk: Chunk[Any]) -> Chunk[Any]:
        """Values on their way."""
        for index, value in enumerate(chunk.values):
            *others, last = [window.place(position) for window, position, _ in chunk.origins.members(index)]
            self.passed[probe].setdefault(last, []).append(shown(value))
            self.grouped[probe].update(others)
        return chunk

    def read(self, probe: str, chunk: Chunk[Any]) -> Chunk[Any]:
        """Records as they were read."""
        for window, position in _sources_of(chunk):
            self.records[window.place(position)] = window.record(position)
        return self.saw(probe, chunk)

    def lost(self, chunk: Chunk[Any]) -> Chunk[Any]:
        """Records that failed, as dead letters."""
        for window, position in _sources_of(chunk):
            self._note(window.record(position), window)
        return Chunk([], chunk.mark, chunk.origins.part(0, 0))

    def _note(self, record: Record[Any], window: Records) -> None:
        told = {name: (value or b"").decode() for name, value in record.headers if name.startswith("flowdsl-")}
        kind = told["flowdsl-exception"].rpartition(".")[2]
        partition = Partition(Topic(record.topic), record.partition) if record.topic else window.place(0)[0]
        place = partition, record.offset
        self.failed[place, told["flowdsl-step"]] = f"{kind}: {told['flowdsl-message']}"


def _sources_of(chunk: Chunk[Any]) -> Iterator[tuple[Records, int]]:
    """Where the record of each value is: a read, and the position in it."""
    for index in range(len(chunk)):
        window, position, _ = chunk.origins.members(index)[0]
        yield window, position


def probed(plan: NamedPlan, watch: Watch, latest: int) -> tuple[Plan, DeadLetter]:
    """The plan with probes, and the policy to run it with. A source that waits for what comes shows the ``latest``."""
    letters = Plan(BranchInput(), (_Looking(look=watch.lost, ends=True),))
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
            steps += [self._step(step, before), self._probe(step.name)]
            before = step.name
        return Plan(source, tuple(steps))

    def _begun(self, plan: NamedPlan, probe: str) -> tuple[Source, list[Operator]]:
        source = plan.source
        first = self._probe(probe)
        if isinstance(source, MergedSource):
            return evolve(source, plans=tuple(self.plan(each, each.name) for each in plan.merged)), [first]
        if isinstance(source, BranchInput):
            return source, [first]
        raw = f"{probe}, raw"
        self.watch.columns.append(Column(probe, raw, probe))
        reading = _Reading(name=probe, source=source, where=source.where)
        records = _Looking(name=f"behind {raw}", look=partial(self.watch.read, raw))
        return self._raw(source, raw), [records, reading, first]

    def _probe(self, name: str) -> Operator:
        return _Looking(name=f"behind {name}", look=partial(self.watch.saw, name))

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


Look = Callable[[Chunk[Any]], Chunk[Any]]
"""Notes what came, and gives what goes on."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class _Looking(Chaining):
    """Has something look at every chunk. ``ends``: it is the last."""

    word = "look"
    look: Look
    ends: bool = False

    @property
    def closes(self) -> bool:
        return self.ends

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (_LookingKernel(build.step, build.handler, self.look),)


class _LookingKernel(Kernel):
    def __init__(self, step: StepContext, handler: Handler, look: Look) -> None:
        super().__init__(step, handler)
        self._look = look

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        for value in inputs:
            done(value)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:  # noqa: ARG002  # the values themselves
        return self._look(chunk)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class _Reading(Chaining):
    """What a source does with the records that it reads, as a step of its own."""

    word = "source"
    source: Source

    def named_after(self) -> object:
        return self.source.named_after()

    def lower(self, build: Build) -> tuple[Part, ...]:
        return self.source.lower(build)
