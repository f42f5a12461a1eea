"""The attempts of one stage that are under way: handed out, collected, given up when their time is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowdsl.reactive.bell import Bell
from flowdsl.reactive.workers import Outlet, Task, Workers
from flowdsl.stages.unfinished import Entry
from flowdsl.strategies.slots import Failed, Succeeded, next_assignment

Ended = tuple[Entry, Succeeded[Any] | Failed]
"""A value whose attempt is over, and how it ended."""

WORTH_WAKING = 4
"""So many of a full stage have to be done before it is worth waking up for them: a part of all, one in so many."""


class Attempts:
    """What workers were given. What an attempt brings that does not count any more is looked at by nobody."""

    def __init__(self, workers: Workers, bell: Bell, timeout: float | None) -> None:
        self._workers, self._bell, self._timeout = workers, bell, timeout
        self._clock = workers.clock
        self._outlet = Outlet(bell)
        self._assignment = next_assignment()
        self._counting: dict[Task, None] = {}
        """Those under way, in the order in which they were handed out; what others bring does not count."""
        self._late_at: float | None = None
        """When the first of them may have exceeded its time."""

    @property
    def under_way(self) -> int:
        return len(self._counting)

    @property
    def capacity(self) -> int:
        return self._workers.capacity

    @property
    def room(self) -> int:
        """How many more may be handed out."""
        return self._workers.capacity - len(self._counting)

    @property
    def has_news(self) -> bool:
        return bool(self._outlet.done)

    def begin(self, entries: Sequence[Entry]) -> None:
        """Hand out an attempt at each of these."""
        outlet, assignment = self._outlet, self._assignment
        tasks: list[Task] = []
        for entry in entries:
            entry.attempts += 1
            tasks.append(Task(entry.value, entry.attempts, assignment, outlet, entry))
        self._counting.update(dict.fromkeys(tasks))
        self._bell.under_way += len(tasks)
        if self._timeout is not None and self._late_at is None:
            self._late_at = self._clock() + self._timeout
        self._workers.hand_out(tasks)

    def collect(self) -> list[Ended]:
        """What came to an end. Raises FlowError if the workers cannot go on."""
        self._workers.check()
        self._bell.news = False
        done, counting = self._outlet.done, self._counting
        ended: list[Ended] = []
        while done:
            task = done.popleft()
            if task in counting and task.outcome is not None:
                del counting[task]
                ended.append((task.entry, task.outcome))
        self._bell.under_way -= len(ended)
        if self._late_at is not None and self._clock() >= self._late_at:
            ended += self._late(self._timeout or 0.0)
        return ended

    def cancel(self, *, begun: bool) -> None:
        """Nobody wants them any more; with ``begun=False`` only those that have not begun."""
        tasks = [task for task in self._counting if begun or task.began is None]
        for task in tasks:
            self._abandon(task)
        if tasks:
            self._workers.cancel(tasks)

    def wait_for_some(self, seconds: float) -> None:
        """Let that time pass, or less: until so many are done that it is worth looking at them."""
        self._workers.wait(seconds, self._outlet, max(1, min(self.capacity // WORTH_WAKING, self.under_way)))

    def deadline(self) -> float | None:
        """When to collect again at the latest."""
        if self._outlet.done:
            return self._clock()
        if not self._counting:
            return None
        moments = (self._workers.deadline(), self._late_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def _late(self, limit: float) -> list[Ended]:
        now, late, others = self._clock(), list[Task](), list[float]()
        for task in self._counting:
            if task.outcome is None:
                until = (now if task.began is None else task.began) + limit
                if until > now:
                    others.append(until)
                else:
                    late.append(task)
        self._late_at = min(others, default=None)
        for task in late:
            self._abandon(task)
            self._workers.give_up(task)
        return [(task.entry, Failed(TimeoutError(f"it did not end within {limit:g} s"))) for task in late]

    def _abandon(self, task: Task) -> None:
        task.abandoned = True
        del self._counting[task]
        self._bell.under_way -= 1
