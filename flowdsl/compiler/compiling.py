"""Validate, name, and make a factory."""

from __future__ import annotations

from flowdsl.compiler.factory import FlowFactory, new_run
from flowdsl.compiler.validate import faults
from flowdsl.errors import FlowDefinitionError, Problem
from flowdsl.plan.names import named, named_together
from flowdsl.plan.nodes import Plan
from flowdsl.plan.policy import STOP, ErrorPolicy
from flowdsl.stages.context import Run


def check(plan: Plan) -> None:
    """Raise one FlowDefinitionError with all the faults of a plan, if it has any."""
    _refuse(faults(named(plan)))


def prepare(plan: Plan, run: Run, on_error: ErrorPolicy = STOP) -> FlowFactory:
    """A factory for one run. Raises what ``check`` raises, also for the dead letters of the run."""
    policy = on_error.letters
    whole, letters = named_together(plan, None if policy is None else policy.plan)
    _refuse(faults(whole, letters))
    return FlowFactory(whole, run, on_error, letters)


def _refuse(found: list[Problem]) -> None:
    if found:
        raise FlowDefinitionError(found)


def compile_plan(plan: Plan) -> FlowFactory:
    """A factory for a loop of one's own. Raises what ``check`` raises."""
    return prepare(plan, new_run())
