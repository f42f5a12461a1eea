"""An RxPY scheduler over one queue and some threads. Costs a tenth of ``ThreadPoolScheduler``, and hides no exception."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import Any, Never, TypeVar

from reactivex.abc import DisposableBase, ScheduledAction
from reactivex.scheduler.scheduler import Scheduler

S = TypeVar("S")


class Scheduled(DisposableBase):
    """An action that waits for its turn; disposed of, it does not get one."""

    __slots__ = ("action", "disposed", "state")

    def __init__(self, action: ScheduledAction[Any], state: Any) -> None:
        self.action, self.state = action, state
        self.disposed = False

    def dispose(self) -> None:
        self.disposed = True


class WorkerThread(threading.Thread):
    """Takes actions from the queue until it is told to end. ``retired``: it ends behind the action in hand."""

    def __init__(self, scheduler: WorkerScheduler, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._scheduler = scheduler
        self.retired = False
        self.call: Callable[[Any], Any] | None = None
        """For whoever serves with this thread: what it calls."""

    def run(self) -> None:
        self._scheduler.serve(self, self._work)

    def _work(self) -> None:
        scheduler, queue = self._scheduler, self._scheduler.queue
        while not self.retired:
            scheduled = queue.get()
            if scheduled is None:
                return
            if not scheduled.disposed:
                scheduled.action(scheduler, scheduled.state)


Serve = Callable[[WorkerThread, Callable[[], None]], None]


def _plainly(_: WorkerThread, work: Callable[[], None]) -> None:
    work()


class WorkerScheduler(Scheduler):
    """Runs actions on at most ``n`` daemon threads, in the order in which they were scheduled.

    An action is expected not to raise. ``serve`` is what each thread does: it calls ``work``, once. Delays are not for
    this scheduler.
    """

    def __init__(self, n: int, name: str, serve: Serve = _plainly) -> None:
        self._most, self._name, self.serve = n, name, serve
        self.queue: SimpleQueue[Scheduled | None] = SimpleQueue()
        self.threads: list[WorkerThread] = []
        self._closed = False

    def schedule(self, action: ScheduledAction[S], state: S | None = None) -> DisposableBase:
        scheduled = Scheduled(action, state)
        self._put([scheduled])
        return scheduled

    def schedule_all(self, action: ScheduledAction[S], states: Iterable[S]) -> None:
        """As ``schedule`` with each of these, and at less cost: a thread that starts finds all of them."""
        self._put([Scheduled(action, state) for state in states])

    def _put(self, some: Sequence[Scheduled]) -> None:
        if self._closed:
            msg = f"the scheduler {self._name} was closed"
            raise RuntimeError(msg)
        put = self.queue.put
        for scheduled in some:
            put(scheduled)
        for _ in range(min(len(some), self._most - len(self.threads))):
            self._begin()

    def schedule_relative(
        self, duetime: Any, action: ScheduledAction[S], state: S | None = None
    ) -> Never:  # see Scheduler
        msg = "this scheduler has no clock: a delay would occupy one of its threads"
        raise NotImplementedError(msg)

    schedule_absolute = schedule_relative

    def replace(self, thread: WorkerThread) -> None:
        """Another thread in the place of one that is stuck, and that ends once it comes back."""
        thread.retired = True
        self.threads.remove(thread)
        self._begin()

    def close(self) -> None:
        """End every thread behind the action in hand; what waits in the queue is still run before."""
        self._closed = True
        for _ in self.threads:
            self.queue.put(None)

    def _begin(self) -> None:
        thread = WorkerThread(self, f"{self._name}-{len(self.threads) + 1}")
        self.threads.append(thread)
        thread.start()
