"""What ``map_``, ``filter_``, ``flat_map``, ``tap`` and ``sink`` share: functions that wait or compute for long."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from reactivex.abc import SchedulerBase

from flowdsl.clock import Duration, optional_seconds
from flowdsl.errors import FlowError, shown
from flowdsl.interface import arguments
from flowdsl.operators import checks
from flowdsl.plan.concurrency import Concurrency
from flowdsl.reactive.coroutines import Coroutines
from flowdsl.reactive.foreign import Foreign
from flowdsl.reactive.threads import Threads
from flowdsl.reactive.workers import Job, WorkerPlan
from flowdsl.stages.calls import Call
from flowdsl.stages.concurrent import ConcurrentStage
from flowdsl.stages.endings import Finisher
from flowdsl.stages.flattening import FlatMapKernel
from flowdsl.stages.orders import AsArrived, AsReady, ByKey, Order
from flowdsl.stages.parts import Build, Part, Standing, Strategy
from flowdsl.stages.results import CallResults

Scheduler = WorkerPlan | SchedulerBase
"""What ``scheduler=`` takes: ``threads(n)``, ``processes(n)``, any scheduler of RxPY."""


def concurrency_of(
    function: Any,
    *,
    concurrency: int | None,
    scheduler: Scheduler | None,
    ordered: bool,
    key: Callable[[Any], Any] | None,
    timeout: Duration | None,
    finish: Callable[[Any], Any] | None = None,
) -> Concurrency | None:
    """What the user asked for; None for a plain function that is called where it stands."""
    given = {"concurrency": concurrency, "scheduler": scheduler, "ordered": ordered, "key": key, "timeout": timeout}
    plain = not (checks.is_async(function) or checks.is_using(function))
    seconds = optional_seconds(timeout, "timeout")
    if not isinstance(ordered, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
        msg = f"ordered must be True or False, not {shown(ordered)}"
        raise TypeError(msg)
    if key is not None:
        checks.function(key, "key")
        if not ordered:
            msg = "key keeps the order within a key, and ordered=False gives all order up: leave one of them out"
            raise ValueError(msg)
    if plain and concurrency is None and scheduler is None:
        _refuse_without_concurrency(given)
        return None
    workers = _workers(function, concurrency, scheduler)
    n = workers.concurrency if concurrency is None else arguments.count(concurrency, "concurrency")
    refusal = workers.refusal(_job("", "", function, finish), n)
    if refusal is None and seconds is not None:
        refusal = workers.refusal_of_timeout
    if refusal is not None:
        msg = f"scheduler={shown(scheduler)}: {refusal}" if scheduler is not None else refusal
        raise ValueError(msg)
    usual = {"concurrency": None, "scheduler": None, "ordered": True, "key": None, "timeout": None}
    told = tuple((name, value) for name, value in given.items() if value != usual[name])
    return Concurrency(n, workers, ordered, key, seconds, told)


def parts(
    build: Build,
    slow: Concurrency | None,
    fused: Call | FlatMapKernel,
    function: Any,
    finish: Callable[[Any], Any] | None = None,
) -> tuple[Part, ...]:
    """The step as it can be fused, or a stage that has its function called elsewhere."""
    if slow is None:
        return (fused,)
    kernel = CallResults(fused) if isinstance(fused, Call) else fused
    return (Standing(ConcurrentStage, partial(_stage, build, slow, kernel, function, finish)),)


def _stage(
    build: Build,
    slow: Concurrency,
    kernel: Finisher,
    function: Any,
    finish: Callable[[Any], Any] | None,
    downstream: Strategy,
) -> Strategy:
    site = build.step.site
    job = _job(site.name, site.function, function, finish)
    workers = build.step.run.workers(slow.workers, job, slow.n)
    if slow.timeout is not None and workers.refusal_of_timeout is not None:
        text = f"timeout={slow.timeout:g} of the step {site.name!r}: {workers.refusal_of_timeout}"
        raise FlowError(text)
    return ConcurrentStage(kernel, workers, _order(slow), downstream, key=slow.key, timeout=slow.timeout)


def _job(step: str, told: str, function: Any, finish: Callable[[Any], Any] | None) -> Job:
    resource, inner = (function.resource, function.function) if checks.is_using(function) else (None, function)
    return Job(step, inner, told, checks.is_async(function), resource, finish)


def _order(slow: Concurrency) -> Order:
    if slow.key is not None:
        return ByKey()
    return AsArrived() if slow.ordered else AsReady()


def _workers(function: Any, concurrency: int | None, scheduler: Any) -> WorkerPlan:
    if scheduler is None:
        if checks.is_async(function):
            return Coroutines()
        return Threads(1 if concurrency is None else arguments.count(concurrency, "concurrency"))
    if isinstance(scheduler, WorkerPlan):
        return scheduler
    if isinstance(scheduler, SchedulerBase):
        return Foreign(scheduler)
    msg = f"scheduler must be threads(n), processes(n) or a scheduler of RxPY, not {shown(scheduler)}"
    raise TypeError(msg)


def _refuse_without_concurrency(given: dict[str, Any]) -> None:
    """What makes no sense for a function that is called value by value, where it stands."""
    if given["timeout"] is not None:
        msg = f"timeout={given['timeout']!r} cannot be kept for a plain function without concurrency: nothing can end it. Give concurrency=1, or make it async def"
        raise ValueError(msg)
    if given["key"] is not None or not given["ordered"]:
        name = "key" if given["key"] is not None else "ordered"
        msg = f"{name}={shown(given[name])} needs concurrency: without it values are worked on one at a time, in order"
        raise ValueError(msg)
