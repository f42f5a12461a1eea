"""Workers in virtual time, in the place of threads, processes, event loops and foreign schedulers.

They run on the thread of the test. How long a call takes, and in which order calls end that end together, comes from
a seed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from heapq import heappop, heappush
from random import Random
from typing import Any

from msgspec import Struct

from flowdsl.clock import Deadline
from flowdsl.errors import FlowError
from flowdsl.interface.slots import Failed, Succeeded
from flowdsl.reactive.calling import Call, called, not_opened, opened, perform_async, plain
from flowdsl.reactive.workers import Job, Outlet, Task, Tools, WorkerPlan, Workers
from flowdsl.testing.loop import VirtualLoop


def _no_risk() -> None:
    pass


class AllStuckError(FlowError):
    """Too many calls exceeded their timeout: what real threads tell by a FlowError as well."""


class Chance(Struct, frozen=True):
    """What is left to chance in the workers of one run: the order, how long calls take, whether they fail."""

    random: Random
    seconds: Callable[[], float] = float
    risk: Callable[[], None] = _no_risk


def open_virtually(plan: WorkerPlan, job: Job, concurrency: int, tools: Tools, chance: Chance) -> Workers:  # noqa: ARG001  # whatever it was
    """Workers in the place of those of a plan."""
    return (VirtualCoroutines if job.is_async else VirtualThreads)(job, concurrency, tools, chance)


class VirtualWorkers(Workers):
    """What both kinds share. ``capacity`` leaves some waiting, as real workers do."""

    def __init__(self, job: Job, concurrency: int, tools: Tools, chance: Chance) -> None:
        super().__init__(tools)
        self._job, self._most, self._chance = job, concurrency, chance
        self.capacity = 2 * concurrency
        self._waiting: deque[Task] = deque()

    def hand_out(self, tasks: Sequence[Task]) -> None:
        self._waiting.extend(tasks)
        self.check()

    def wait(self, seconds: float, outlet: Outlet, enough: int) -> None:  # noqa: ARG002  # nothing happens meanwhile
        self.clock.sleep(seconds)
        self.check()


class VirtualThreads(VirtualWorkers):
    """A call is made when it begins, and what came of it is told when it ends, also if nobody wants it any more."""

    def __init__(self, job: Job, concurrency: int, tools: Tools, chance: Chance) -> None:
        super().__init__(job, concurrency, tools, chance)
        self._running: list[tuple[float, float, int, Task, Succeeded[Any] | Failed]] = []
        self._stuck: set[Task] = set()
        """Those that exceeded their time; others have their places."""
        self._count = 0
        self._open = ExitStack()
        self._call: Call | None = None

    def check(self) -> None:
        while self._end() or self._begin():
            """Calls that take no time let others begin."""

    def deadline(self) -> float | None:
        return self._running[0][0] if self._running else None

    def cancel(self, tasks: Collection[Task]) -> None:
        """A thread that has begun cannot be stopped."""

    def give_up(self, task: Task) -> None:
        self._stuck.update(entry[3] for entry in self._running if entry[3] is task)
        if len(self._stuck) > self._most:
            text = f"{len(self._stuck)} calls of {self._job.told} exceeded their timeout and still run"
            raise AllStuckError(text)

    def close(self, deadline: Deadline) -> int:  # noqa: ARG002  # nothing is waited for
        left = sum(not entry[3].abandoned for entry in self._running)
        self._running.clear()
        self._waiting.clear()
        self._open.close()
        return left

    def _begin(self) -> bool:
        began = False
        while self._waiting and len(self._running) - len(self._stuck) < self._most:
            task = self._waiting.popleft()
            if task.abandoned:
                continue
            task.began = now = self.clock()
            self._count += 1
            outcome = self._outcome(task)
            heappush(
                self._running, (now + self._chance.seconds(), self._chance.random.random(), self._count, task, outcome)
            )
            began = True
        return began

    def _end(self) -> bool:
        ended = False
        while self._running and self._running[0][0] <= self.clock():
            task, outcome = heappop(self._running)[3:]
            self._stuck.discard(task)
            task.outcome = outcome
            task.outlet.put(task)
            ended = True
        return ended

    def _outcome(self, task: Task) -> Succeeded[Any] | Failed:
        call = self._opened()
        try:
            self._chance.risk()
            return Succeeded(call(task.value))
        except BaseException as error:  # noqa: BLE001  # the outcome, as in a thread
            return Failed(error)

    def _opened(self) -> Call:
        if self._call is None:
            try:
                self._call = called(self._job, self._open.enter_context(opened(self._job)))
            except Exception as error:
                raise not_opened(self._job, error) from error
        return self._call


class VirtualCoroutines(VirtualWorkers):
    """Coroutines in a loop of virtual time."""

    def __init__(self, job: Job, concurrency: int, tools: Tools, chance: Chance) -> None:
        super().__init__(job, concurrency, tools, chance)
        self._loop = VirtualLoop(tools.clock)
        self._running: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._call: Call | None = None

    def check(self) -> None:
        self._begin()
        self._loop.run_ready()
        while self._waiting and len(self._running) < self._most:
            self._begin()
            self._loop.run_ready()

    def deadline(self) -> float | None:
        return self._loop.next_moment()

    def cancel(self, tasks: Collection[Task]) -> None:
        for task in tasks:
            if task.handle is not None:
                task.handle.cancel()
        self._loop.run_ready()

    def give_up(self, task: Task) -> None:
        self.cancel([task])

    def close(self, deadline: Deadline) -> int:  # noqa: ARG002  # nothing is waited for
        self._waiting.clear()
        for handle in list(self._running):
            handle.cancel()
        self._loop.run_ready()
        try:
            self._loop.finish(self._stack.aclose())
        finally:
            self._loop.close()
        return 0

    def _begin(self) -> None:
        while self._waiting and len(self._running) < self._most:
            task = self._waiting.popleft()
            if task.abandoned:
                continue
            call = self._opened()
            task.handle = handle = self._loop.create_task(
                perform_async(task, self._slowly(call), self._job.finish, self.clock)
            )
            self._running.add(handle)
            handle.add_done_callback(self._running.discard)

    def _slowly(self, call: Call) -> Call:
        async def later(value: Any) -> Any:
            seconds = self._chance.seconds()
            if seconds:
                await self._loop.pause(seconds)
            self._chance.risk()
            return await call(value)

        return later

    def _opened(self) -> Call:
        if self._call is None:
            try:
                self._call = called(self._job, self._loop.finish(self._resource()))
            except Exception as error:
                raise not_opened(self._job, error) from error
        return self._call

    async def _resource(self) -> Any:
        if self._job.resource is None:
            return None
        manager = self._job.resource()
        if isinstance(manager, AbstractAsyncContextManager):
            return await self._stack.enter_async_context(manager)
        return self._stack.enter_context(plain(self._job, manager))
