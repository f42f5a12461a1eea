"""The attempts of one stage that are under way: handed out, collected, given up when their time is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from flowdsl.reactive.bell import Bell
from flowdsl.reactive.workers import Outlet, Task, Workers
from flowdsl.stages.unfinished import Entry
from flowdsl.strategies.slots import Failed, Succeeded, next_assignment

Outcome = Succeeded[Any] | Failed


class Attempt(Task):
    """One attempt at the value of an entry; the one that counts is ``entry.task``."""

    __slots__ = ("entry",)

    def __init__(self, entry: Entry, assignment: int, outlet: Outlet) -> None:
        super().__init__(entry.value, entry.attempts, assignment, outlet)
        self.entry = entry

    @property
    def counts(self) -> bool:
        return self.entry.task is self


class Attempts:
    """What workers were given. What an attempt brings that does not count any more is looked at by nobody."""

    def __init__(self, workers: Workers, bell: Bell, timeout: float | None) -> None:
        self._workers, self._bell, self._timeout = workers, bell, timeout
        self._clock = workers.clock
        self._outlet = Outlet(bell)
        self._assignment = next_assignment()
        self._handed: deque[Attempt] = deque()
        self._late_at: float | None = None
        """When the first of them may have exceeded its time."""
        self.under_way = 0

    @property
    def capacity(self) -> int:
        return self._workers.capacity

    @property
    def room(self) -> int:
        """How many more may be handed out."""
        return self._workers.capacity - self.under_way

    @property
    def has_news(self) -> bool:
        return bool(self._outlet.done)

    def begin(self, entries: Sequence[Entry]) -> None:
        """Hand out an attempt at each of these."""
        tasks: list[Attempt] = []
        for entry in entries:
            entry.attempts += 1
            entry.task = task = Attempt(entry, self._assignment, self._outlet)
            tasks.append(task)
        self._now_under_way(len(tasks))
        self._handed.extend(tasks)
        if self._timeout is not None and self._late_at is None:
            self._late_at = self._clock() + self._timeout
        self._workers.hand_out(tasks)

    def collect(self) -> Iterator[tuple[Entry, Outcome]]:
        """What came to an end. Raises FlowError if the workers cannot go on."""
        self._workers.check()
        self._bell.news = False
        done = self._outlet.done
        while done:
            task: Any = done.popleft()
            if task.counts:
                self._end(task)
                yield task.entry, task.outcome
        if self._late_at is not None and self._clock() >= self._late_at:
            yield from self._late(self._timeout or 0.0)
        self._tidy()

    def cancel(self, *, begun: bool) -> None:
        """Nobody wants them any more; with ``begun=False`` only those that have not begun."""
        tasks = [task for task in self._handed if task.counts and (begun or task.began is None)]
        for task in tasks:
            task.abandoned = True
            self._end(task)
        if tasks:
            self._workers.cancel(tasks)
        self._tidy()

    def wait(self, seconds: float, entry: Entry | None = None) -> None:
        """Let that time pass, or less: until the entry's attempt is over, or without one until any is."""
        self._workers.wait(seconds, None if entry is None else entry.task, self._outlet)

    def deadline(self) -> float | None:
        """When to collect again at the latest."""
        if self._outlet.done:
            return self._clock()
        if not self.under_way:
            return None
        moments = (self._workers.deadline(), self._late_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def _late(self, limit: float) -> Iterator[tuple[Entry, Outcome]]:
        now, late, others = self._clock(), list[Attempt](), list[float]()
        for task in self._handed:
            if task.counts and task.outcome is None:
                until = (now if task.began is None else task.began) + limit
                if until > now:
                    others.append(until)
                else:
                    late.append(task)
        self._late_at = min(others, default=None)
        for task in late:
            task.abandoned = True
            self._end(task)
            self._workers.give_up(task)
            yield task.entry, Failed(TimeoutError(f"it did not end within {limit:g} s"))

    def _end(self, task: Attempt) -> None:
        task.entry.task = None
        self._now_under_way(-1)

    def _now_under_way(self, more: int) -> None:
        self.under_way += more
        self._bell.under_way += more

    def _tidy(self) -> None:
        handed = self._handed
        while handed and not handed[0].counts:
            handed.popleft()
        if len(handed) > 2 * self.under_way + self._workers.capacity:
            self._handed = deque(task for task in handed if task.counts)
