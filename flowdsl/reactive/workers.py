"""The seam between the stage that owns records and the workers that call a user's function on them.

The stage, on the thread that drives the pipeline, makes a ``Task`` for each attempt at a value and hands it out. Workers
call the function elsewhere, write the outcome into the task, once, and touch nothing else. What kind of workers, and how
many, is a value (``WorkerPlan``), which a run opens once for each step and closes at its end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from msgspec import Struct

from flowdsl.clock import Clock, Deadline
from flowdsl.interface.slots import Work, next_assignment
from flowdsl.reactive.bell import Bell

POLL_SECONDS = 0.005
"""While work is under way somewhere that cannot ring, it is looked after so often."""

AHEAD = 256
"""Tasks that wait right behind those that run, so that workers need not wait for the thread that hands out."""

Resource = Callable[[], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]


class Job(Struct, frozen=True):
    """What workers do with each value: ``function(value)``, or with a resource ``function(resource, value)``.

    ``finish`` is applied to what comes of it, where the work runs: it takes lazy results apart.
    """

    step: str
    function: Callable[..., Any]
    told: str = ""
    """What messages call the function: ``shop.fetch``."""
    is_async: bool = False
    resource: Resource | None = None
    """Opened once per run for coroutines, once per worker otherwise; closed when the workers are."""
    finish: Callable[[Any], Any] | None = None


class Outlet:
    """Where the tasks of one stage, in one assignment, are put when they are done, by whatever thread.

    Waking up for each costs more than the work: who waits says how many are worth it.
    """

    def __init__(self, bell: Bell) -> None:
        self.done: deque[Any] = deque()
        """The tasks, of whatever kind the stage made them."""
        self.assignment = next_assignment()
        self._bell = bell
        self._enough = 1

    def put(self, task: Task) -> None:
        """A task whose outcome is written."""
        self.done.append(task)
        self._bell.ring(self if len(self.done) >= self._enough else None)

    def put_all(self, tasks: Sequence[Task]) -> None:
        """As ``put``, for several at once."""
        self.done.extend(tasks)
        self._bell.ring(self if len(self.done) >= self._enough else None)

    def wait(self, seconds: float, enough: int) -> None:
        """Return once so many are there, or after so many seconds. For the thread that takes them out."""
        self._enough = enough  # before anybody is told that it is waited for
        self._bell.wait(seconds, lambda: len(self.done) >= enough, self)


class Task(Work[Any]):
    """One attempt at one value. Workers read ``value`` and ``abandoned``, and write ``began`` and the outcome, once.

    ``abandoned``: nobody wants it any more; one that has not begun need not begin. ``began``: when the function was
    called, on the clock of the run; a time limit counts from there. ``handle`` belongs to the workers. Once the outcome is
    written, the task is put into its outlet.
    """

    __slots__ = ("began", "handle", "outlet", "value")

    def __init__(self, value: Any, outlet: Outlet, attempt: int = 1) -> None:
        self.attempt, self.assignment = attempt, outlet.assignment  # in one place: there is one for every record
        self.outcome, self.abandoned = None, False
        self.value, self.outlet = value, outlet
        self.began: float | None = None
        self.handle: Any = None


class Tools(Struct, frozen=True):
    """What workers are opened with."""

    clock: Clock
    bell: Bell


class Workers(ABC):
    """The workers of one step of one run. Every method is called by the thread that drives the pipeline.

    None of them blocks, apart from ``wait`` and ``close``; none raises what the user's function raised.
    """

    capacity: int
    """How many tasks of a stage may be handed out and not done: what runs at once, and what waits right behind it."""
    wakes = 4
    """How often a stage is woken, at most, while as many tasks end as it may have: each time it wakes costs, and so does
    much work at once.
    """
    refusal_of_timeout: str | None = None
    """Why a time limit cannot be kept there, where that was found out only by opening them."""

    def __init__(self, tools: Tools) -> None:
        self.clock, self.bell = tools.clock, tools.bell

    @abstractmethod
    def hand_out(self, tasks: Sequence[Task]) -> None:
        """Begin these soon, in this order; never more at once than the step's concurrency. Never refused.

        One call may bring many: what wakes workers, or packs tasks into batches, does it once per call.
        """

    @abstractmethod
    def cancel(self, tasks: Collection[Task]) -> None:
        """These are abandoned: what has not begun never does; stop what can be stopped. Their outcomes reach nobody."""

    @abstractmethod
    def give_up(self, task: Task) -> None:
        """As ``cancel``, for one that exceeded its time limit: whatever still works on it must not take up the place
        of another. Raises FlowError where too many did.
        """

    def check(self) -> None:  # noqa: B027  # optional
        """Called on every turn while work is under way. Raises FlowError if the workers cannot go on."""

    def deadline(self) -> float | None:
        """When to look again at the latest while tasks are under way, on the run's clock."""
        return self.clock() + POLL_SECONDS

    def wait(self, seconds: float, outlet: Outlet, enough: int) -> None:
        """Wait until so many tasks of the outlet are done, but no longer than that."""
        outlet.wait(seconds, enough)

    @abstractmethod
    def close(self, deadline: Deadline) -> int:
        """Cancel what is left, close resources, and end, as far as that goes before the deadline.

        Returns how many calls of the user's function still run then: they are left behind, and keep no process alive.
        Raises what closing a resource raised.
        """


class WorkerPlan(Struct, frozen=True):
    """Workers as a value: of what kind, how many. What ``scheduler=`` takes; equal plans are equal."""

    @property
    def concurrency(self) -> int:
        """How many records are worked on at once where the user did not say."""
        return 1

    def refusal(self, job: Job, concurrency: int) -> str | None:  # noqa: ARG002  # for those that refuse some
        """Why this function cannot run there; None if it can. Asked when the step is written."""
        return None

    @property
    def refusal_of_timeout(self) -> str | None:
        """Why a time limit cannot be kept there; None if it can."""
        return None

    @abstractmethod
    def open(self, job: Job, concurrency: int, tools: Tools) -> Workers:
        """Start workers. Called by the thread that drives the pipeline, before the first record of the run."""

    @abstractmethod
    def told(self, concurrency: int) -> str:
        """For ``explain``: where the work runs, and how much at once."""
