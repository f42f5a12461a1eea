"""Which stages a plan becomes and which steps run in them, as a value to be told: nothing is opened, started or called.

Steps are lowered as for a run and fused by the same rule; what they become is looked at and thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, Never

from msgspec import Struct

from flowdsl.clock import SYSTEM_CLOCK
from flowdsl.compiler.building import site_of
from flowdsl.compiler.fusing import Lowered, segments
from flowdsl.plan.names import NamedPlan, Step
from flowdsl.plan.nodes import Node
from flowdsl.stages.context import Run, StepContext, StepCount
from flowdsl.stages.failures import Stop
from flowdsl.stages.ledger import Ledger
from flowdsl.stages.parts import Build, Part, Strategy
from flowdsl.stages.segment import Segment
from flowdsl.stages.switch import Switch


class Place(Struct, frozen=True):
    """A step, or a source, in one of the stages that it runs in. ``begins``, ``ends``: whether it is the first, the last
    of them; the branches of a step stand where it ends.
    """

    name: str
    node: Node
    begins: bool
    ends: bool
    branches: tuple[Way, ...] = ()


class Stage(Struct, frozen=True):
    """One running strategy, and the steps that are fused in it."""

    number: int
    kind: type[Strategy]
    places: tuple[Place, ...]


class Way(Struct, frozen=True):
    """The stages of one plan, in order. ``merged``: the ways that lead into it."""

    label: str
    stages: tuple[Stage, ...]
    merged: tuple[Way, ...] = ()

    def all_places(self) -> Iterator[Place]:
        """Every place in reading order; a step that runs in two stages appears twice."""
        for way in self.merged:
            yield from way.all_places()
        for stage in self.stages:
            for place in stage.places:
                yield place
                for branch in place.branches:
                    yield from branch.all_places()


class Outline(Struct, frozen=True):
    """The stages of a flow. ``dead_letters``: the ways beside it, with the name of the step whose letters they take."""

    flow: Way
    dead_letters: tuple[tuple[str, Way], ...]

    def all_places(self) -> Iterator[Place]:
        """Every place of the flow, then those beside it."""
        for way in (self.flow, *(letters for _, letters in self.dead_letters)):
            yield from way.all_places()


def outline(plan: NamedPlan) -> Outline:
    """The stages of a plan, numbered in reading order, those of dead letters last."""
    outliner = _Outliner()
    flow = outliner.way(plan)
    letters = [(step.name, step.dead_letters) for step in plan.all_steps() if step.dead_letters is not None]
    return Outline(flow, tuple((name, outliner.way(each)) for name, each in letters))


class _Outliner:
    def __init__(self) -> None:
        self._numbers = count(1)

    def way(self, plan: NamedPlan) -> Way:
        merged = tuple(self.way(each) for each in plan.merged)
        steps = {step.name: step for step in plan.steps}
        nodes: dict[str, Node] = {plan.name: plan.source, **{name: step.operator for name, step in steps.items()}}
        groups = segments([Lowered(name, _parts(name, node)) for name, node in nodes.items()])
        first = {name: at for at, group in reversed([*enumerate(groups)]) for name in group.names}
        last = {name: at for at, group in enumerate(groups) for name in group.names}
        stages: list[Stage] = []
        for at, group in enumerate(groups):
            number = next(self._numbers)
            places = tuple(
                Place(
                    name,
                    nodes[name],
                    first[name] == at,
                    last[name] == at,
                    self._branches(steps.get(name), last[name] == at),
                )
                for name in group.names
            )
            stages.append(Stage(number, Segment if group.standing is None else group.standing.kind, places))
        return Way(plan.label, tuple(stages), merged)

    def _branches(self, step: Step | None, ends: bool) -> tuple[Way, ...]:
        return tuple(self.way(each) for each in step.branches) if step is not None and ends else ()


class _Unopened:
    """Stands for a sink that is an object: such sinks are opened when they are lowered."""

    write = flush = None


def _instead(_: str, target: Any) -> Any:
    return _Unopened if hasattr(target, "write") else target


def _parts(name: str, node: Node) -> tuple[Part, ...]:
    """What a step becomes. Its parts are not made to be run."""
    run = Run(
        clock=SYSTEM_CLOCK, switch=Switch(SYSTEM_CLOCK), producer=_refused, finish=_refused, sink_function=_instead
    )
    context = StepContext(site_of(name, node), run, Ledger(), StepCount(name))
    return node.lower(Build(context, Stop(), _refused, {}))


def _refused(*_: Any, **__: Any) -> Never:
    msg = "a plan that is only looked at opens and builds nothing"
    raise RuntimeError(msg)
