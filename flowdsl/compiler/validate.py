"""The faults of a flow that show only in the whole: all of them at once, each where the user wrote it.

What one operator can see by itself is refused when it is written, and does not come here.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowdsl.errors import Problem
from flowdsl.operators.source import BrokerSource
from flowdsl.operators.take import Take
from flowdsl.operators.through import Through
from flowdsl.operators.to_list import ToList
from flowdsl.plan.names import NamedPlan, Step
from flowdsl.plan.nodes import Operator

INSIDE: dict[type[Operator], str] = {
    Take: "take ends the whole run, which a branch cannot decide: put it before the branches, or use run(count=...)",
    ToList: "to_list is what run returns, and cannot stand inside a branch: use sink(values.append) there",
}


def faults(whole: NamedPlan, letters: NamedPlan | None = None) -> list[Problem]:
    """What is wrong with this plan, and with that of the run's dead letters."""
    found = list(_of_steps(whole, inside=False))
    if letters is not None:
        found += _of_dead_letters(letters, "on_error of the run", None)
    return found


def warnings(whole: NamedPlan) -> list[Problem]:
    """What will run, but not as people expect: groups without ``within`` behind a source that may fall silent."""
    if not any(isinstance(each.source, BrokerSource) for each in whole.all_sources()):
        return []
    text = "waits for a full group for as long as it takes, and holds the offsets back: give within=, the seconds after which a group leaves early"
    return [_problem(step, text) for step in whole.all_steps() if _waits(step.operator)]


def _waits(operator: Operator) -> bool:
    within: float | None = getattr(operator, "within", 0.0)
    return operator.holds and within is None


def _of_steps(plan: NamedPlan, *, inside: bool) -> Iterator[Problem]:
    for inner in plan.merged:
        yield from _of_steps(inner, inside=False)
        yield from _ends_of_merged(inner)
    for step in plan.steps:
        if inside:
            yield from _inside_a_branch(step)
        if step.dead_letters is not None:
            yield from _of_dead_letters(step.dead_letters, step.name, step)
        for branch in step.branches:
            yield from _of_steps(branch, inside=True)


def _inside_a_branch(step: Step) -> Iterator[Problem]:
    for kind, text in INSIDE.items():
        if isinstance(step.operator, kind):
            yield _problem(step, text)
    if isinstance(step.operator, Through) and step.operator.ends:
        text = "the factory takes no downstream, so it commits by itself, which inside a branch would run ahead of the other branches: take downstream, and end the branch in a sink"
        yield _problem(step, text)


def _ends_of_merged(plan: NamedPlan) -> Iterator[Problem]:
    for step in plan.steps:
        if isinstance(step.operator, Take):
            yield _problem(
                step,
                "take ends the whole run, and the flow it stands in is one of several that are merged: put it behind merge",
            )


def _of_dead_letters(plan: NamedPlan, holder: str, step: Step | None) -> Iterator[Problem]:
    last = plan.steps[-1] if plan.steps else step
    if not plan.steps or not plan.steps[-1].operator.closes:
        text = "dead_letter needs a sink, or a fragment that ends in one: what it got does not end"
        where = None if last is None else last.operator.where
        yield Problem(text, holder, None if where is None else where.file, None if where is None else where.line)
    yield from _of_steps(plan, inside=True)


def _problem(step: Step, text: str) -> Problem:
    return Problem(text, step.name, step.operator.where.file, step.operator.where.line)
