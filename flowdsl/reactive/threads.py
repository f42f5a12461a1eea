"""Plain functions on threads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from threading import current_thread
from typing import Any

from flowdsl.clock import Deadline
from flowdsl.errors import FlowError
from flowdsl.interface import arguments
from flowdsl.reactive.calling import called, not_opened, opened, perform
from flowdsl.reactive.scheduler import WorkerScheduler, WorkerThread
from flowdsl.reactive.workers import AHEAD, Job, Task, Tools, WorkerPlan, Workers


class Threads(WorkerPlan, frozen=True):
    """``n`` threads of the step's own."""

    n: int

    def __repr__(self) -> str:
        return f"threads({self.n})"

    @property
    def concurrency(self) -> int:
        return self.n

    def refusal(self, job: Job, concurrency: int) -> str | None:  # noqa: ARG002  # see WorkerPlan
        if job.is_async:
            return "an async def function runs on an event loop of the flow's own: leave scheduler out"
        return None

    def open(self, job: Job, concurrency: int, tools: Tools) -> Workers:
        return ThreadWorkers(job, min(self.n, concurrency), tools)

    def told(self, concurrency: int) -> str:
        n = min(self.n, concurrency)
        return f"on {n} thread{'s' if n > 1 else ''}"


def threads(n: int = 8) -> WorkerPlan:
    """Run a step on ``n`` threads of its own: ``map_(f, scheduler=threads(8))``. Its ``concurrency`` is n then.

    >>> from flowdsl import from_iterable, map_, threads, to_list
    >>> (from_iterable([3, 4]) | map_(lambda n: n * n, scheduler=threads(2)) | to_list()).run()
    [9, 16]
    """
    return Threads(arguments.count(n, "n"))


class ThreadWorkers(Workers):
    """Threads that take tasks from one queue. One that is stuck in a task whose time is up is replaced."""

    wakes = 8  # while results leave, no thread goes on that comes back from waiting; then all do at once, and get in each other's way

    def __init__(self, job: Job, concurrency: int, tools: Tools) -> None:
        super().__init__(tools)
        self._job, self._most = job, concurrency
        self.capacity = concurrency + AHEAD
        self._scheduler = WorkerScheduler(concurrency, f"flowdsl-{job.step}", self._serve)
        self._stuck: list[WorkerThread] = []
        self._broken: BaseException | None = None

    def hand_out(self, tasks: Sequence[Task]) -> None:
        self._scheduler.schedule_all(self._run, tasks)

    def cancel(self, tasks: Collection[Task]) -> None:
        """They are abandoned: a thread that comes to one passes it over."""

    def give_up(self, task: Task) -> None:
        thread: Any = task.handle
        if thread is None:
            return
        self._scheduler.replace(thread)
        self._stuck = [each for each in self._stuck if each.is_alive()]
        self._stuck.append(thread)
        if len(self._stuck) > self._most:
            text = f"{len(self._stuck)} calls of {self._job.told} in the step {self._job.step!r} exceeded their timeout and still run: a thread cannot be stopped from outside. Give the function a time limit of its own"
            raise FlowError(text)

    def check(self) -> None:
        error, self._broken = self._broken, None
        if error is not None:
            raise not_opened(self._job, error) from error

    def close(self, deadline: Deadline) -> int:
        self._scheduler.close()
        for thread in self._scheduler.threads:
            thread.join(deadline.remaining())
        if self._broken is not None:
            raise self._broken
        return sum(thread.is_alive() for thread in [*self._scheduler.threads, *self._stuck])

    # -- on the threads -------------------------------------------------------------------------------------------

    def _serve(self, thread: WorkerThread, work: Callable[[], None]) -> None:
        try:
            with opened(self._job) as resource:
                thread.call = called(self._job, resource)
                work()
        except BaseException as error:  # noqa: BLE001  # raised by the thread that drives the pipeline
            self._broken = error
            self.bell.ring(self)

    def _run(self, _: object, task: Any) -> None:
        thread: Any = current_thread()
        task.handle = thread
        perform(task, thread.call, self.clock)
