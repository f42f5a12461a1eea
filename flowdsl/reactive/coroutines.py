"""``async def`` functions on an event loop of the flow's own, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any

from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from flowdsl.clock import Deadline
from flowdsl.reactive.calling import Call, called, not_opened, perform_async, plain
from flowdsl.reactive.workers import AHEAD, Job, Task, Tools, WorkerPlan, Workers


class Coroutines(WorkerPlan, frozen=True):
    """An event loop of the step's own."""

    def open(self, job: Job, concurrency: int, tools: Tools) -> Workers:
        return LoopWorkers(job, concurrency, tools)

    def told(self, concurrency: int) -> str:
        return (
            f"on an event loop of the flow's own, {concurrency:,} at a time"
            if concurrency > 1
            else "on an event loop of the flow's own, one at a time"
        )


class LoopWorkers(Workers):
    """Coroutines in one loop. However many tasks a burst brings, the loop is woken once."""

    def __init__(self, job: Job, concurrency: int, tools: Tools) -> None:
        super().__init__(tools)
        self._job, self._most = job, concurrency
        self.capacity = concurrency + AHEAD
        self._inbox: deque[Task] = deque()
        self._cancelled: deque[Task] = deque()
        self._is_woken = False
        self._broken: BaseException | None = None
        self._thread: threading.Thread | None = None
        # Below: touched by the loop's thread alone, once it runs.
        self._loop = asyncio.new_event_loop()
        self._scheduler = AsyncIOThreadSafeScheduler(self._loop)
        self._waiting: deque[Task] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._call: Call | None = None
        self._end = asyncio.Event()

    # -- on the thread that drives the pipeline -------------------------------------------------------------------

    def hand_out(self, tasks: Sequence[Task]) -> None:
        self._inbox.extend(tasks)
        self._wake()

    def cancel(self, tasks: Collection[Task]) -> None:
        self._cancelled.extend(tasks)
        self._wake()

    def give_up(self, task: Task) -> None:
        self.cancel([task])

    def check(self) -> None:
        error, self._broken = self._broken, None
        if error is not None:
            raise not_opened(self._job, error) from error

    def close(self, deadline: Deadline) -> int:
        if self._thread is None:
            self._loop.close()
            return 0
        with suppress(RuntimeError):  # the loop broke down and is closed already
            self._scheduler.schedule(self._told_to_end)
        self._thread.join(deadline.remaining())
        if self._thread.is_alive():
            return max(1, len(self._running))
        if self._broken is not None:
            raise self._broken
        return 0

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"flowdsl-{self._job.step}", daemon=True)
            self._thread.start()
        if not self._is_woken:
            # Set before the loop is told, and unset by the loop before it looks: no task is left behind.
            self._is_woken = True
            with suppress(RuntimeError):  # the loop broke down and is closed: ``check`` tells
                self._scheduler.schedule(self._look)

    # -- on the loop ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001  # raised by the thread that drives the pipeline
            self._broken = error
            self.bell.ring(self)

    async def _main(self) -> None:
        async with AsyncExitStack() as stack:
            self._call = called(self._job, await self._opened(stack))
            self._begin()
            await self._end.wait()
            self._waiting.clear()
            running = list(self._running)
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _opened(self, stack: AsyncExitStack) -> Any:
        if self._job.resource is None:
            return None
        manager = self._job.resource()
        if isinstance(manager, AbstractAsyncContextManager):
            return await stack.enter_async_context(manager)
        return stack.enter_context(plain(self._job, manager))

    def _told_to_end(self, *_: object) -> None:
        self._end.set()

    def _look(self, *_: object) -> None:
        self._is_woken = False
        while self._inbox:
            self._waiting.append(self._inbox.popleft())
        while self._cancelled:
            task = self._cancelled.popleft()
            if task.began is not None:  # else it sees by itself that nobody wants it
                task.handle.cancel()
        self._begin()

    def _begin(self) -> None:
        call = self._call
        while call is not None and self._waiting and len(self._running) < self._most:
            task = self._waiting.popleft()
            if not task.abandoned:
                task.handle = handle = self._loop.create_task(
                    perform_async(task, call, self._job.finish, self.clock, self._ended)
                )
                self._running.add(handle)

    def _ended(self, task: Task) -> None:
        self._running.discard(task.handle)
        if self._waiting:
            self._begin()
