"""A branch: an operator that is given a flow of its own, and the plan which that makes.

A branch is built when the operator that holds it is put onto a flow: only then is it known what comes before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from flowdsl.errors import FlowDefinitionError, Problem
from flowdsl.plan.functions import short_name

if TYPE_CHECKING:
    from flowdsl.plan.nodes import BranchInput, Plan, Upstream


class Branch(Struct, frozen=True):
    """``label`` is for people: the key of a route, the place in a broadcast. ``operator``: from a flow to a flow."""

    label: str
    operator: Callable[[Any], Any]
    built: Plan | None = None

    @property
    def plan(self) -> Plan:
        """The steps of this branch; its source is a ``BranchInput``."""
        if self.built is None:
            msg = f"the branch {self.label} has no plan before its operator is put onto a flow"
            raise RuntimeError(msg)
        return self.built

    @property
    def closed(self) -> bool:
        """Whether this branch ends in a sink, as far as that can be told without a flow."""
        last = getattr(self.operator, "functions", (self.operator,))[-1]
        return self.built.closed if self.built is not None else bool(getattr(last, "closes", False))

    def grown(self, up: Upstream, source: BranchInput) -> Branch:
        """This branch with its plan, which begins at ``source``."""
        end = up.begin(source).through(self.operator)
        if end.plan.source is not source:
            name = short_name(self.operator) or "a lambda"
            text = f"the branch {self.label} must go on from the flow that {name} is given, and not return another one"
            raise FlowDefinitionError([Problem(text, name, source.where.file, source.where.line)])
        return replace(self, built=end.plan)
