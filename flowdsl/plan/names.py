"""What every step of a plan is called: the plan again, in reading order, with a unique name at each place.

The same operator may stand at several places, so a name belongs to the place and not to the node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from flowdsl.plan.branch import Branch
from flowdsl.plan.functions import short_name
from flowdsl.plan.nodes import BranchInput, Node, Operator, Plan, Source


class Step(Struct, frozen=True):
    """One operator at its place. ``branches`` are those of the operator; ``dead_letters`` its own, if it has such a policy."""

    name: str
    operator: Operator
    branches: tuple[NamedPlan, ...] = ()
    dead_letters: NamedPlan | None = None


class NamedPlan(Struct, frozen=True):
    """A plan with names. ``label``: which branch it is; ``merged``: the plans that its source merges."""

    label: str
    name: str
    source: Source
    steps: tuple[Step, ...]
    merged: tuple[NamedPlan, ...] = ()

    def all_steps(self) -> Iterator[Step]:
        """Every step in reading order: those of merged plans first, those of a branch behind the step that holds it."""
        for plan in self.merged:
            yield from plan.all_steps()
        for step in self.steps:
            yield step
            for inner in (*step.branches, *filter(None, [step.dead_letters])):
                yield from inner.all_steps()

    def all_names(self) -> Iterator[str]:
        """The names of everything that values pass, in reading order."""
        for plan in self.merged:
            yield from plan.all_names()
        if not self.merged and not isinstance(self.source, BranchInput):
            yield self.name
        for step in self.steps:
            yield step.name
            for inner in (*step.branches, *filter(None, [step.dead_letters])):
                yield from inner.all_names()

    def all_sources(self) -> Iterator[NamedPlan]:
        """Every plan that reads something itself, in reading order."""
        if not self.merged:
            yield self
        for plan in self.merged:
            yield from plan.all_sources()


def named(plan: Plan, label: str = "") -> NamedPlan:
    """The plan with a name at every place: ``parse``, ``filter_``, ``parse#2``."""
    return _Naming().plan(plan, label)


def named_together(plan: Plan, letters: Plan | None) -> tuple[NamedPlan, NamedPlan | None]:
    """A plan and that of the run's dead letters. No name is given twice: what is opened and counted goes by name."""
    naming = _Naming()
    return naming.plan(plan, ""), None if letters is None else naming.plan(letters, "dead letters")


def base_name(node: Node) -> str:
    """What a node is called before it is known what else there is: its ``name``, its function's, or its word."""
    if node.name is not None:
        return node.name
    function = node.named_after() if isinstance(node, Operator) else None
    return (short_name(function) if function is not None else None) or node.word


class _Naming:
    """Hands out names; one for each plan."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._given: set[str] = set()

    def name(self, node: Node) -> str:
        base = base_name(node)
        while True:
            self._asked[base] += 1
            name = base if self._asked[base] == 1 else f"{base}#{self._asked[base]}"
            if name not in self._given:  # a user may have named a step parse#2
                self._given.add(name)
                return name

    def plan(self, plan: Plan, label: str) -> NamedPlan:
        merged = tuple(self.plan(each, str(number)) for number, each in enumerate(plan.source.merged, 1))
        name = label if isinstance(plan.source, BranchInput) else self.name(plan.source)
        return NamedPlan(label, name, plan.source, tuple(self.step(each) for each in plan.steps), merged)

    def step(self, operator: Operator) -> Step:
        name = self.name(operator)
        branches = tuple(self.branch(each) for each in operator.branches)
        letters = None if operator.on_error is None else operator.on_error.letters
        return Step(name, operator, branches, None if letters is None else self.branch(letters.branch))

    def branch(self, branch: Branch) -> NamedPlan:
        return self.plan(branch.plan, branch.label)
