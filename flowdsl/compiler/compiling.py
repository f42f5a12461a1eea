"""Validate, name, and make a factory."""

from __future__ import annotations

from flowdsl.compiler.factory import FlowFactory, new_run
from flowdsl.compiler.validate import faults
from flowdsl.errors import FlowDefinitionError
from flowdsl.plan.names import named_together
from flowdsl.plan.nodes import Plan
from flowdsl.plan.policy import STOP, ErrorPolicy
from flowdsl.stages.context import Run


def check(plan: Plan, on_error: ErrorPolicy | None = None) -> None:
    """Raise one FlowDefinitionError with all the faults of a plan, if it has any."""
    found = faults(plan, on_error)
    if found:
        raise FlowDefinitionError(found)


def prepare(plan: Plan, run: Run, on_error: ErrorPolicy = STOP) -> FlowFactory:
    """A factory for one run. Raises what ``check`` raises."""
    check(plan, on_error)
    policy = on_error.letters
    whole, letters = named_together(plan, None if policy is None else policy.plan)
    return FlowFactory(whole, run, on_error, letters)


def compile_plan(plan: Plan) -> FlowFactory:
    """A factory for a loop of one's own. Raises what ``check`` raises."""
    return prepare(plan, new_run())
