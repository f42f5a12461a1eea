"""What ``run`` and ``start`` do: check the arguments, run, and hand back what the flow gives."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

from flowdsl.clock import Duration, optional_seconds, to_seconds
from flowdsl.compiler.validate import warnings
from flowdsl.display.progress import progress_bar
from flowdsl.errors import shown
from flowdsl.flow.arguments import checked_until
from flowdsl.flow.execution import Execution, Options
from flowdsl.flow.handle import RunHandle
from flowdsl.flow.signals import ending_on_signals
from flowdsl.interface import arguments
from flowdsl.operators.to_list import ToList
from flowdsl.plan.names import NamedPlan
from flowdsl.plan.nodes import BranchInput, Plan, Upstream
from flowdsl.plan.policy import STOP, ErrorPolicy, error_policy
from flowdsl.plan.where import here
from flowdsl.types import CommitPolicy

logger = logging.getLogger("flowdsl")


def run(flow: Upstream, **given: Any) -> Any:
    """Run here, with signal handlers where that is possible."""
    chosen = options(flow, **given)
    execution = Execution(flow.plan, chosen)
    _warn(execution.plan)
    bar = progress_bar(execution.plan.name, execution.progress) if chosen.progress else nullcontext()
    with ending_on_signals(execution), bar:
        execution.run()
    if execution.interrupted and execution.is_bounded:
        raise KeyboardInterrupt
    return _outcome(flow.plan, execution)


def start(flow: Upstream, **given: Any) -> RunHandle[Any]:
    """Run in a thread."""
    execution = Execution(flow.plan, options(flow, **given))
    _warn(execution.plan)
    return RunHandle(execution, lambda ended: _outcome(flow.plan, ended))


def _outcome(plan: Plan, execution: Execution) -> Any:
    return execution.results if isinstance(plan.steps[-1], ToList) else execution.stats()


def options(
    flow: Upstream,
    *,
    count: int | None,
    timeout: Duration | None,
    until: object,
    commit: CommitPolicy,
    on_error: Any,
    stop_timeout: Duration,
    progress: bool,
) -> Options:
    if not isinstance(progress, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
        msg = f"progress must be True or False, not {shown(progress)}"
        raise TypeError(msg)
    return Options(
        count=None if count is None else arguments.count(count, "count"),
        timeout=optional_seconds(timeout, "timeout"),
        until=checked_until(until),
        commit=checked_policy(commit),
        on_error=policy_of_run(flow, on_error),
        stop_timeout=to_seconds(stop_timeout, "stop_timeout"),
        progress=progress,
    )


def checked_policy(commit: object) -> CommitPolicy:
    """What the user gave as the commit policy."""
    if not isinstance(commit, CommitPolicy):
        msg = f"commit must be every(...), immediately or never, not {shown(commit)}"
        raise TypeError(msg)
    return commit


def policy_of_run(flow: Upstream, on_error: Any) -> ErrorPolicy:
    """What the user gave as the policy of the run, ready for a compiler."""
    policy = error_policy(on_error) or STOP
    return policy.grown(flow, BranchInput(where=here()))


def _warn(plan: NamedPlan) -> None:
    for warning in warnings(plan):
        logger.warning("%s", warning)
