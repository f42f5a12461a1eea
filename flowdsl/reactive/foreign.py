"""Schedulers of RxPY that a user passes. Of them nothing is asked but ``schedule(action, state)``.

What an action does never raises, and it first looks whether anybody still wants it. Delays and ``dispose`` are not used:
many schedulers block in them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Sequence
from typing import Any

from reactivex.abc import SchedulerBase
from reactivex.scheduler import (
    CurrentThreadScheduler,
    ImmediateScheduler,
    TrampolineScheduler,
    VirtualTimeScheduler,
)
from reactivex.scheduler.eventloop import AsyncIOScheduler, AsyncIOThreadSafeScheduler

from flowdsl.clock import Deadline
from flowdsl.errors import FlowError
from flowdsl.reactive.calling import called, perform, perform_async
from flowdsl.reactive.workers import POLL_SECONDS, Job, Task, Tools, WorkerPlan, Workers

PATIENCE = 5.0
"""Seconds in which a scheduler has to begin something."""

INLINE = (ImmediateScheduler, CurrentThreadScheduler, TrampolineScheduler)
"""They run what they are given on the thread that gives it, one at a time."""


class Foreign(WorkerPlan, frozen=True):
    """A scheduler that the user made, and that the user ends."""

    scheduler: SchedulerBase

    @property
    def _name(self) -> str:
        return type(self.scheduler).__name__

    def refusal(self, job: Job, concurrency: int) -> str | None:
        scheduler, name = self.scheduler, self._name
        if isinstance(scheduler, AsyncIOScheduler) and not isinstance(scheduler, AsyncIOThreadSafeScheduler):
            return f"{name} may only be called on the thread of its loop, and the flow runs on another: give AsyncIOThreadSafeScheduler(loop)"
        if job.is_async and not isinstance(scheduler, AsyncIOThreadSafeScheduler):
            return f"{name} runs no coroutines: leave scheduler out, and the function runs on an event loop of the flow's own"
        if job.resource is not None:
            return f"using(...) opens its resource once per worker, and nobody knows the workers of a {name}: give threads(n), or leave scheduler out"
        if isinstance(scheduler, INLINE) and concurrency > 1:
            return f"{name} runs one thing at a time, on the flow's own thread: leave concurrency={concurrency} out, or give threads({concurrency})"
        return None

    @property
    def refusal_of_timeout(self) -> str | None:
        return _not_kept(self.scheduler) if isinstance(self.scheduler, INLINE) else None

    def open(self, job: Job, concurrency: int, tools: Tools) -> Workers:
        return ForeignWorkers(self.scheduler, job, concurrency, tools)

    def told(self, concurrency: int) -> str:
        if isinstance(self.scheduler, INLINE):
            return f"on {self._name}, which is the flow's own thread: one at a time"
        return f"on {self._name}, which is yours, at most {concurrency:,} at a time"


class Probe(threading.Event):
    """Set by a scheduler that runs what it is given. ``thread``: the one that it was set on."""

    thread: int | None = None


class ForeignWorkers(Workers):
    """Schedules one action per task, never more than ``concurrency`` that are not done."""

    def __init__(self, scheduler: SchedulerBase, job: Job, concurrency: int, tools: Tools) -> None:
        super().__init__(tools)
        self._scheduler, self._job, self._most = scheduler, job, concurrency
        self.capacity = concurrency
        self._call = called(job, None)
        self._action = self._begin if job.is_async else self._run
        self._handed: list[tuple[float, Task]] = []
        self._look_at = 0.0
        self._asked_at = 0.0
        self._probe: Probe | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that coroutines run on, once one has begun."""
        self._error: Exception | None = None
        probe = self._ask()
        if not probe.wait(PATIENCE):
            raise FlowError(self._complaint())
        if probe.thread == threading.get_ident():
            self.refusal_of_timeout = _not_kept(scheduler)

    def hand_out(self, tasks: Sequence[Task]) -> None:
        now = self.clock()
        for task in tasks:
            self._handed.append((now, task))
            self._schedule(self._action, task)

    def cancel(self, tasks: Collection[Task]) -> None:
        """What has not begun will do nothing; a coroutine that has is cancelled on its loop."""
        for task in tasks if self._job.is_async else ():
            self._schedule(_cancel, task)

    def give_up(self, task: Task) -> None:
        self.cancel([task])
        stuck = sum(each.abandoned for each in self._running())
        if stuck > self._most:
            text = f"{stuck} calls of {self._job.told} in the step {self._job.step!r} exceeded their timeout and still run on {type(self._scheduler).__name__}. Give the function a time limit of its own"
            raise FlowError(text)

    def check(self) -> None:
        if self._error is not None:
            raise FlowError(self._complaint()) from self._error
        now = self.clock()
        if now < self._look_at:
            return
        self._look_at = now + PATIENCE / 5
        self._handed = [(at, task) for at, task in self._handed if not self._is_over(task)]
        stopped = self._loop is not None and not self._loop.is_running()  # coroutines that have begun do not go on
        waiting = (at for at, task in self._handed if (stopped or task.began is None) and not task.abandoned)
        oldest = next(waiting, None)
        if oldest is None or now - oldest < PATIENCE or (self._running() and not stopped):
            self._probe = None
        elif self._probe is None:
            self._ask()
        elif now - self._asked_at >= PATIENCE:
            raise FlowError(self._complaint())

    def close(self, deadline: Deadline) -> int:
        while self._running() and not deadline.expired:
            left = deadline.remaining()
            self.bell.wait(POLL_SECONDS if left is None else min(left, POLL_SECONDS), lambda: False)
        return len(self._running())

    # -- asking it ------------------------------------------------------------------------------------------------

    def _running(self) -> list[Task]:
        return [task for _, task in self._handed if task.began is not None and not self._is_over(task)]

    def _is_over(self, task: Task) -> bool:
        is_gone = task.began is None or (self._job.is_async and task.handle is None)
        return task.outcome is not None or (task.abandoned and is_gone)

    def _ask(self) -> Probe:
        """Find out whether it runs anything at all."""
        self._asked_at = self.clock()
        self._probe = probe = Probe()
        self._schedule(_set, probe)
        if self._error is not None:
            raise FlowError(self._complaint()) from self._error
        return probe

    def _schedule(self, action: Any, state: Any) -> None:
        try:
            self._scheduler.schedule(action, state)
        except Exception as error:  # noqa: BLE001  # somebody else's scheduler; told by ``check``
            self._error = error

    def _complaint(self) -> str:
        name = type(self._scheduler).__name__
        if self._error is not None:
            did = f"takes nothing: {type(self._error).__name__}: {self._error}"
        elif self._probe is not None and self._probe.is_set():
            text = f"dropped a value: it runs what it was given later, and did not begin with that one within {2 * PATIENCE:g} s"
            return f"the scheduler {name} of the step {self._job.step!r} {text}"
        else:
            did = f"did not run what it was given within {PATIENCE:g} s"
        return f"the scheduler {name} of the step {self._job.step!r} {did}. {_likely(self._scheduler)}"

    # -- on its workers -------------------------------------------------------------------------------------------

    def _run(self, _: object, task: Task) -> None:
        perform(task, self._call, self.clock)

    def _begin(self, _: object, task: Task) -> None:
        if not task.abandoned:
            self._loop = loop = asyncio.get_running_loop()
            task.handle = loop.create_task(perform_async(task, self._call, self._job.finish, self.clock, _ended))


def _set(_: object, probe: Any) -> None:
    probe.thread = threading.get_ident()
    probe.set()


def _not_kept(scheduler: SchedulerBase) -> str:
    name = type(scheduler).__name__
    return f"{name} runs on the flow's own thread, where a timeout cannot be kept: give threads(1)"


def _cancel(_: object, task: Any) -> None:
    if task.handle is not None:
        task.handle.cancel()


def _ended(task: Task) -> None:
    task.handle = None


def _likely(scheduler: SchedulerBase) -> str:
    """Why a scheduler may run nothing."""
    if isinstance(scheduler, VirtualTimeScheduler):
        return "Its time is virtual, and outside of flowdsl.testing.Driver nobody moves it"
    if isinstance(scheduler, INLINE):
        return "The flow runs inside a subscribe, whose trampoline runs it only afterwards: give threads(n)"
    if isinstance(scheduler, AsyncIOScheduler):
        return "Its loop does not run, or it is the loop of the thread that the flow blocks: use start() there, or give the function as async def without scheduler"
    return "Was it shut down or disposed of, or does it wait for the very thread that the flow runs on?"
