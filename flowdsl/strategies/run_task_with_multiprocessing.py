"""RunTaskWithMultiprocessing: a function that computes, called for several messages at once, on worker processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from flowdsl.clock import SYSTEM_CLOCK, Clock, to_seconds
from flowdsl.errors import WorkerDied, shown
from flowdsl.interface import arguments
from flowdsl.interface.slots import Slot, SlotStep, Work
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.pool.pool import Function, Pool
from flowdsl.types import BrokerValue, Message

In = TypeVar("In")
Out = TypeVar("Out")

BATCHES = 2
"""For each process: one that it works on, and one that it finds when that is done."""
CLOSE_SECONDS = 5.0


class MultiprocessingPool:
    """Worker processes, which strategies share, and which outlive assignments: make one in a factory's ``__init__``.

    ``initializer``: called once in each worker. Workers are started anew, with the interpreter's own program and not by
    ``fork``, when a strategy first needs them; functions and the initializer may be lambdas, closures or defined in the main module. Usable from
    any thread. ``close`` it in the factory's ``shutdown``.
    """

    def __init__(self, num_processes: int, initializer: Callable[[], None] | None = None) -> None:
        self.num_processes = arguments.count(num_processes, "num_processes")
        self._initializer = None if initializer is None else arguments.function(initializer, "initializer")
        self._pool = Pool(num_processes, initializer)
        self._lock = threading.Lock()

    @property
    def pool(self) -> Pool:
        """The processes; after ``close`` new ones."""
        with self._lock:
            if self._pool.is_closed:
                self._pool = Pool(self.num_processes, self._initializer)
            return self._pool

    @property
    def pids(self) -> list[int]:
        """The processes that live now."""
        return self._pool.pids

    def close(self, timeout: float | None = CLOSE_SECONDS) -> None:
        """End the workers; those that do not end within ``timeout`` seconds are killed. Who waits for them gets an error."""
        self._pool.close(timeout)

    def terminate(self) -> None:
        """Kill the workers. Does not wait."""
        self._pool.terminate()


class RunTaskWithMultiprocessing(SlotStep[In, Out, Out]):
    """Call ``function(message)`` on the processes of a pool, and hand on the results in the order of the messages.

    Messages go to workers in batches, as large as takes them a few milliseconds and never larger than ``max_batch_size``; none waits for
    its batch to fill up, and so not for ``max_batch_time`` seconds. Two batches per process are under way; what does not fit
    is rejected. The function, its messages' payloads and its results are pickled (with cloudpickle); a function that
    cannot be is refused here, with a TypeError. What it raises is raised from ``poll``, ``submit`` or ``join`` at the
    position of its message, with the worker's traceback.

    A worker that dies is replaced, and its messages are done again; one on which three workers died raises WorkerDied.
    ``join`` waits for what is under way, but not past its deadline; calls that still run then are killed, as by ``terminate``.
    The arguments from ``input_block_size`` on steered shared memory elsewhere: accepted, and unused.

    After a crash the function may be called again for messages that were not done.
    """

    def __init__(
        self,
        function: Callable[[Message[In]], Out],
        next_step: ProcessingStrategy[Out],
        max_batch_size: int,
        max_batch_time: float,
        pool: MultiprocessingPool,
        input_block_size: int | None = None,  # noqa: ARG002  # there are no blocks
        output_block_size: int | None = None,  # noqa: ARG002  # as above
        max_input_block_size: int | None = None,  # noqa: ARG002  # as above
        max_output_block_size: int | None = None,  # noqa: ARG002  # as above
        prefetch_batches: bool = False,  # noqa: ARG002  # a worker always has a second batch
        spawn_shared_memory_process: bool = True,  # noqa: ARG002  # there is no such process
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        arguments.function(function, "function")
        to_seconds(max_batch_time, "max_batch_time")
        if not isinstance(pool, MultiprocessingPool):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
            msg = f"pool must be a MultiprocessingPool, not {shown(pool)}"
            raise TypeError(msg)
        most = arguments.count(max_batch_size, "max_batch_size") * BATCHES * pool.num_processes
        super().__init__(next_step, most, clock=clock)
        self._function: Function = pool.pool.function(OnMessage(function), about=function, most=max_batch_size)

    def start(self, slot: Slot[In, Out], work: Work[Out]) -> None:
        self._function.call((_Errand(_light(cast("Message[In]", slot.message)), work),))

    def advance(self) -> None:
        super().advance()
        error = self._function.error
        if error is not None and self.slots and not self.slots[0].is_done and not self.waiting:
            self.abandon()
            text = f"{self}: the worker processes cannot go on: {error}"
            raise WorkerDied(text) from error

    def abandon(self) -> None:
        super().abandon()
        self._function.stop_abandoned()
        self._function.forget()


class OnMessage(Generic[In, Out]):
    """In a worker: the user's function, called with a message as it was."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[Message[In]], Out]) -> None:
        self._function = function

    def __call__(self, light: Any) -> Out:
        return self._function(light if isinstance(light, Message) else Message(BrokerValue(*light)))  # pyright: ignore[reportUnknownArgumentType]  # of whatever the user has

    def __reduce__(self) -> tuple[Any, ...]:
        return OnMessage, (self._function,)


def _light(message: Message[Any]) -> Any:
    """A message as it travels: a tuple is pickled several times as fast."""
    value = message.value
    if isinstance(value, BrokerValue):
        return value.payload, value.partition, value.offset, value.timestamp
    return message


class _Errand:
    """The work of one slot, as a pool knows it."""

    __slots__ = ("_work", "began", "fail", "succeed", "value")

    def __init__(self, value: Any, work: Work[Any]) -> None:
        self.value = value
        self.began: float | None = None
        self._work = work
        self.succeed = work.succeed
        self.fail = work.fail

    @property
    def abandoned(self) -> bool:
        return self._work.abandoned
