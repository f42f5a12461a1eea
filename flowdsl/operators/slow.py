"""What ``map_``, ``filter_``, ``flat_map``, ``tap`` and ``sink`` share: functions that wait or compute for long."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct
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


class Asked(Struct, frozen=True):
    """What a user says of how a function is to be called: the arguments that these five have in common."""

    concurrency: int | None = None
    scheduler: Scheduler | None = None
    ordered: bool = True
    key: Callable[[Any], Any] | None = None
    timeout: Duration | None = None

    def told(self) -> tuple[tuple[str, Any], ...]:
        """What is not as usual, by the names of the arguments."""
        usual = Asked()
        given = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return tuple((name, value) for name, value in given if value != getattr(usual, name))


def concurrency_of(function: Any, asked: Asked, *, finish: Callable[[Any], Any] | None = None) -> Concurrency | None:
    """What the user asked for; None for a plain function that is called where it stands."""
    seconds = optional_seconds(asked.timeout, "timeout")
    _refuse_contradictions(asked)
    plain = not (checks.is_async(function) or checks.is_using(function))
    if plain and asked.concurrency is None and asked.scheduler is None:
        _refuse_without_concurrency(asked)
        return None
    workers = _workers(function, asked.concurrency, asked.scheduler)
    n = workers.concurrency if asked.concurrency is None else arguments.count(asked.concurrency, "concurrency")
    refusal = workers.refusal(_job("", "", function, finish), n)
    if refusal is None and seconds is not None:
        refusal = workers.refusal_of_timeout
    if refusal is not None:
        msg = f"scheduler={shown(asked.scheduler)}: {refusal}" if asked.scheduler is not None else refusal
        raise ValueError(msg)
    return Concurrency(n, workers, asked.ordered, asked.key, seconds, asked.told())


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


def _refuse_contradictions(asked: Asked) -> None:
    if not isinstance(asked.ordered, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
        msg = f"ordered must be True or False, not {shown(asked.ordered)}"
        raise TypeError(msg)
    if asked.key is not None:
        checks.function(asked.key, "key")
        if not asked.ordered:
            msg = "key keeps the order within a key, and ordered=False gives all order up: leave one of them out"
            raise ValueError(msg)


def _refuse_without_concurrency(asked: Asked) -> None:
    """What makes no sense for a function that is called value by value, where it stands."""
    if asked.timeout is not None:
        msg = f"timeout={asked.timeout!r} cannot be kept for a plain function without concurrency: nothing can end it. Give concurrency=1, or make it async def"
        raise ValueError(msg)
    if asked.told():
        name, value = asked.told()[0]
        msg = f"{name}={shown(value)} needs concurrency: without it values are worked on one at a time, in order"
        raise ValueError(msg)
