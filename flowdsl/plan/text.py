"""A plan as text, one line per step, close to what the user typed. Made from the fields of the nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from flowdsl.errors import shown
from flowdsl.plan.branch import Branch
from flowdsl.plan.concurrency import Concurrency
from flowdsl.plan.fragment import Composition
from flowdsl.plan.functions import innermost, short_name
from flowdsl.plan.nodes import BranchInput, Node, Operator, Plan
from flowdsl.plan.policy import DeadLetter, Skip, Stop

INDENT = "    "


def lines_of(plan: Plan) -> list[str]:
    """The source, then each step with its branches indented beneath it."""
    inner: tuple[Plan, ...] = getattr(plan.source, "plans", ())
    lines = [] if isinstance(plan.source, BranchInput) else [call_of(plan.source)]
    for each in inner:
        lines += [INDENT + line for line in lines_of(each)]
    for step in plan.steps:
        lines.append(f"| {call_of(step)}")
        lines += [line for branch in step.branches for line in _branch_lines(branch)]
    return lines


def _branch_lines(branch: Branch) -> list[str]:
    if branch.built is None:
        return [f"{INDENT}{branch.label}: {value_of(branch.operator)}"]
    return [f"{INDENT}{branch.label}:", *(INDENT * 2 + line for line in lines_of(branch.built))]


def call_of(node: Node) -> str:
    """``batch(500, within=1.0)``: what was given, without what is as usual."""
    required: list[str] = []
    named: list[str] = []
    for each in attrs.fields(type(node)):
        value: Any = getattr(node, each.name)
        if "one or several" in each.metadata and isinstance(value, tuple):
            value = _alone(value)  # pyright: ignore[reportUnknownArgumentType]  # of whatever the node has
        if not each.repr or each.name == "ends":
            continue
        if isinstance(value, Concurrency):
            named += [f"{name}={value_of(argument)}" for name, argument in value.given]
            continue
        if each.default is attrs.NOTHING and "keyword" not in each.metadata:
            required.append(value_of(value))
        elif value != each.default:
            named.append(f"{each.name}={value_of(value)}")
    given = required + named
    leads_on = (isinstance(node, Operator) and node.branches) or hasattr(node, "plans")
    return f"{node.word}({', '.join(given)})" if given or not leads_on else node.word


def _alone(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else values


def value_of(value: Any) -> str:
    """A function by its name, a policy as users write it, all else as it shows itself."""
    told = next((tell(value) for kind, tell in TOLD.items() if isinstance(value, kind)), None)
    if told is None and hasattr(innermost(value), "__name__"):
        told = short_name(value) or "lambda"
    return " ".join((shown(value) if told is None else told).split("\n"))


TOLD: dict[type, Callable[[Any], str]] = {
    Stop: lambda _: repr("stop"),
    Skip: lambda _: repr("skip"),
    DeadLetter: lambda policy: f"dead_letter({value_of(policy.branch.operator)})",
    Operator: call_of,
    Composition: lambda fragment: " | ".join(map(value_of, fragment.functions)),
}
"""How values of these types are shown."""
