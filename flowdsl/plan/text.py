"""A plan as text, one line per step, close to what the user typed. Made from the fields of the nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import NOTHING, fields

from flowdsl.brokers.protocols import Topics
from flowdsl.errors import shown
from flowdsl.plan.branch import Branch
from flowdsl.plan.concurrency import Concurrency
from flowdsl.plan.fragment import Composition
from flowdsl.plan.functions import innermost, short_name
from flowdsl.plan.nodes import BranchInput, Node, Operator, Plan, Source
from flowdsl.plan.policy import DeadLetter, Retry, Skip, Stop
from flowdsl.plan.using import Using

INDENT = "    "


def lines_of(plan: Plan) -> list[str]:
    """The source, then each step with its branches indented beneath it."""
    lines = [] if isinstance(plan.source, BranchInput) else [call_of(plan.source)]
    for each in plan.source.merged:
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
    usual = defaults_of(type(node))
    for name, value in node.given().items():
        if name in node.hidden or (name in usual and value == usual[name]):
            continue
        if isinstance(value, Concurrency):
            named += [f"{argument}={value_of(given)}" for argument, given in value.given]
        elif name in usual or name in node.by_keyword:
            named.append(f"{name}={value_of(value)}")
        else:
            required.append(value_of(_alone(value) if name == "topics" else value))
    given = required + named
    leads_on = node.branches if isinstance(node, Operator) else isinstance(node, Source) and node.merged
    return f"{node.word}({', '.join(given)})" if given or not leads_on else node.word


def defaults_of(kind: type[Node]) -> dict[str, Any]:
    """What stands for the fields that a user need not give."""
    return {each.name: each.default for each in fields(kind) if each.default is not NOTHING}


def _alone(topics: Topics) -> object:
    return topics[0] if isinstance(topics, tuple) and len(topics) == 1 else topics


def value_of(value: Any) -> str:
    """A function by its name, a policy as users write it, all else as it shows itself."""
    told = next((tell(value) for kind, tell in TOLD.items() if isinstance(value, kind)), None)
    if told is None and hasattr(innermost(value), "__name__"):
        told = short_name(value) or "lambda"
    return " ".join((shown(value) if told is None else told).split("\n"))


def _retry(policy: Retry) -> str:
    usual = Retry(policy.attempts)
    given = ((name, getattr(policy, name)) for name in ("first", "most", "jitter", "only", "then"))
    named = [f"{name}={_types(value)}" for name, value in given if value != getattr(usual, name)]
    return f"retry({', '.join([str(policy.attempts), *named])})"


def _types(value: Any) -> str:
    """As ``value_of``; of several types, each by its name."""
    return f"({', '.join(map(value_of, value))})" if isinstance(value, tuple) else value_of(value)  # pyright: ignore[reportUnknownArgumentType]  # of a policy


TOLD: dict[type, Callable[[Any], str]] = {
    Stop: lambda _: repr("stop"),
    Skip: lambda _: repr("skip"),
    DeadLetter: lambda policy: f"dead_letter({value_of(policy.branch.operator)})",
    Retry: _retry,
    Using: lambda given: f"using({value_of(given.resource)}, {value_of(given.function)})",
    Operator: call_of,
    Composition: lambda fragment: " | ".join(map(value_of, fragment.functions)),
}
"""How values of these types are shown."""
