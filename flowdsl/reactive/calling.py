"""How workers call a user's function once, on one value, and open what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any

from flowdsl.clock import Clock
from flowdsl.errors import FlowError, shown, told
from flowdsl.reactive.workers import Job, Task

Call = Callable[[Any], Any]


def called(job: Job, resource: Any) -> Call:
    """What is called with each value, in a thread that has this resource."""
    function, finish = job.function, None if job.is_async else job.finish
    if job.resource is None:
        if finish is None:
            return function
        return lambda value: finish(function(value))
    if finish is None:
        return lambda value: function(resource, value)
    return lambda value: finish(function(resource, value))


def _nothing(_: Task) -> None:
    pass


def perform(task: Task, call: Call, clock: Clock) -> None:
    """Run one task to its end on this thread. Raises nothing, whatever the function raises."""
    if task.abandoned:
        return
    task.began = clock()
    try:
        result = call(task.value)
    except BaseException as error:  # noqa: BLE001  # the outcome; an interrupt ends the run on its own thread
        task.fail(error)
    else:
        task.succeed(result)
    task.outlet.put(task)


async def perform_async(
    task: Task, call: Call, finish: Call | None, clock: Clock, ended: Callable[[Task], None] = _nothing
) -> None:
    """Run one task to its end on this loop. Raises nothing but the cancellation of a task that nobody wants.

    ``ended`` is called at its end, whatever the end is.
    """
    try:
        if task.abandoned:
            return
        task.began = clock()
        result = await call(task.value)
        if finish is not None:
            result = finish(result)
    except asyncio.CancelledError as error:
        if task.abandoned:
            raise
        failed = RuntimeError("the coroutine was cancelled, and not by its flow")
        failed.__cause__ = error
        task.fail(failed)
    except BaseException as error:  # noqa: BLE001  # the outcome; an interrupt ends the run on its own thread
        task.fail(error)
    else:
        task.succeed(result)
    finally:
        ended(task)
    task.outlet.put(task)


@contextmanager
def opened(job: Job) -> Generator[Any]:
    """The resource of this worker, opened and closed here; None where the job needs none."""
    if job.resource is None:
        yield None
        return
    with plain(job, job.resource()) as resource:
        yield resource


def plain(job: Job, manager: object) -> AbstractContextManager[Any]:
    """A context manager that a plain function can use. Raises FlowError for any other."""
    if isinstance(manager, AbstractContextManager):
        return manager  # pyright: ignore[reportUnknownVariableType]  # a user's
    if isinstance(manager, AbstractAsyncContextManager):
        text = f"the step {job.step!r} is a plain function, but its resource is opened by async with: make the function async def, or the resource a plain context manager"
        raise FlowError(text)
    text = f"the resource of the step {job.step!r} must be a function that gives a context manager, but it gave {shown(manager)}"
    raise FlowError(text)


def not_opened(job: Job, error: BaseException) -> FlowError:
    """What ends the run when a worker cannot begin."""
    if isinstance(error, FlowError):
        return error
    return FlowError(
        f"the resource of the step {job.step!r} could not be opened: {type(error).__name__}: {told(error)}"
    )


def not_closed(job: Job, error: BaseException) -> FlowError:
    """What is raised at the end of the run when a worker's resource did not end in order."""
    text = f"the resource of the step {job.step!r} could not be closed: {type(error).__name__}: {told(error)}"
    failed = FlowError(text)
    failed.__cause__ = error
    return failed
