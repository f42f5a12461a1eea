"""Worker processes for the steps of flows: ``scheduler=processes(n)``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from typing import Any

from msgspec import Struct

from flowdsl.clock import Deadline
from flowdsl.errors import FlowDefinitionError, Problem, WorkerDied
from flowdsl.interface import arguments
from flowdsl.pool.carriage import CannotTravel
from flowdsl.pool.pool import Function, Pool
from flowdsl.reactive.calling import called, not_opened, opened
from flowdsl.reactive.workers import Job, Task, Tools, WorkerPlan, Workers

RECORDS_EACH = 1024
"""Records in flight for each process, where the user does not say: two batches of some size."""


class Processes(WorkerPlan, frozen=True):
    """So many worker processes, started anew for each run of a step."""

    number: int

    def __repr__(self) -> str:
        return f"processes({self.number})"

    @property
    def concurrency(self) -> int:
        return self.number * RECORDS_EACH

    def refusal(self, job: Job, concurrency: int) -> str | None:  # noqa: ARG002  # any number is fine
        if job.is_async:
            return (
                "worker processes take plain functions: an async def function runs on an event loop, without scheduler="
            )
        return None

    def open(self, job: Job, concurrency: int, tools: Tools) -> Workers:
        """Start the processes, and wait until one has loaded the function and opened its resource.

        Raises FlowDefinitionError if the function cannot be sent, FlowError if its resource cannot be opened.
        """
        pool = Pool(self.number)
        try:
            function = pool.function(_sent(job), about=job.function, is_context=job.resource is not None, tell=_put)
        except BaseException as error:
            pool.terminate()
            if isinstance(error, CannotTravel):
                raise FlowDefinitionError([Problem(str(error), job.step)]) from error
            if job.resource is not None and isinstance(error, Exception):
                raise not_opened(job, error) from error
            raise
        return ProcessWorkers(pool, function, job, concurrency, tools)

    def told(self, concurrency: int) -> str:
        processes = "1 process" if self.number == 1 else f"{self.number} processes"
        return f"on {processes}, {concurrency:,} records in flight"


def processes(n: int) -> WorkerPlan:
    """For ``scheduler=``: call a step's function on ``n`` worker processes of the run's own.

    ``concurrency=`` counts the records in flight there, which go in batches. The function, the values and the results
    are pickled, with cloudpickle: lambdas and closures travel too, locks and connections do not and are refused when the
    run starts (``using`` opens them in each worker). Processes are started anew, not forked, and the main module is not
    imported again. One that dies is replaced and its records are done again, so that the function may be called more
    than once for a record.
    """
    return Processes(arguments.count(n, "n"))


class ProcessWorkers(Workers):
    """The processes of one step of one run."""

    def __init__(self, pool: Pool, function: Function, job: Job, concurrency: int, tools: Tools) -> None:
        super().__init__(tools)
        self.capacity = concurrency
        self._pool, self._function, self._step = pool, function, job.step

    @property
    def pids(self) -> list[int]:
        """The processes that live now."""
        return self._pool.pids

    def hand_out(self, tasks: Sequence[Task]) -> None:
        self._function.call(tasks)

    def cancel(self, tasks: Collection[Task]) -> None:
        if any(task.began is not None for task in tasks):  # what has just begun gets a moment to end
            self._function.stop_abandoned()

    def give_up(self, task: Task) -> None:  # noqa: ARG002  # it knows that it is abandoned
        self._function.stop_abandoned()

    def check(self) -> None:
        error = self._function.error
        if error is not None:
            text = f"the worker processes of step {self._step!r} cannot go on: {error}"
            raise WorkerDied(text) from error
        self._function.look()

    def close(self, deadline: Deadline) -> int:
        self._pool.close(deadline.remaining())
        return 0  # what was left was killed


def _put(tasks: Sequence[Task]) -> None:
    """Put what came from a worker where its stages look for it: after a rebalance there may be several."""
    for outlet, some in groupby(tasks, attrgetter("outlet")):
        outlet.put_all(list(some))


# -- in the worker ----------------------------------------------------------------------------------------------------


def _sent(job: Job) -> Callable[..., Any]:
    """The function itself where nothing is around it, so that workers need nothing of this package."""
    if job.resource is not None:
        return Opened(job)
    return job.function if job.finish is None else Finished(job.function, job.finish)


class Finished(Struct, frozen=True):
    """A function, and what is done with its results where it runs."""

    function: Callable[[Any], Any]
    finish: Callable[[Any], Any]

    def __call__(self, value: Any) -> Any:
        return self.finish(self.function(value))


class Opened(Struct, frozen=True):
    """Opens the resource of a job; what is entered is the function, with the resource at hand."""

    job: Job

    @contextmanager
    def __call__(self) -> Generator[Callable[[Any], Any]]:
        with opened(self.job) as resource:
            yield called(self.job, resource)
