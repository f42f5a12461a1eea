"""RunTaskInThreads: a function that waits, called for several messages at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.interface import arguments
from flowdsl.interface.slots import Slot, SlotStep, Work
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.pool.crew import Crew
from flowdsl.types import Message

In = TypeVar("In")
Out = TypeVar("Out")

HEAD_SECONDS = 0.005
"""A full step waits so long for its oldest task before it rejects: whoever is rejected sleeps for longer than that."""

logger = logging.getLogger("flowdsl")


class RunTaskInThreads(SlotStep[In, Out, Out]):
    """Call ``processing_function(message)`` on threads, and hand on the results in the order in which the messages came.

    ``concurrency`` threads work, and ``max_pending_futures`` messages are held, worked on or done; the next is rejected.
    What the function raises is raised from ``poll``, ``submit`` or ``join`` at the position of its message. ``join``
    waits for what is under way, but not past its deadline, and ``terminate`` not at all: a call that is still running then
    is left behind on a thread that keeps no process alive, and what it returns reaches nothing.

    After a crash the function may be called again for messages that were not done.
    """

    def __init__(
        self,
        processing_function: Callable[[Message[In]], Out],
        concurrency: int,
        max_pending_futures: int,
        next_step: ProcessingStrategy[Out],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(next_step, arguments.count(max_pending_futures, "max_pending_futures"), clock=clock)
        self._function = arguments.function(processing_function, "processing_function")
        self._crew = Crew(arguments.count(concurrency, "concurrency"))
        self._awaited: Work[Out] | None = None
        self._arrived = threading.Event()

    def has_room(self) -> bool:
        if super().has_room():
            return True
        head = self.slots[0].work if self.slots else None
        if head is None or head.outcome is not None:
            return False
        self._wait_for(head)
        self._later(self._turn)
        return super().has_room()

    def start(self, slot: Slot[In, Out], work: Work[Out]) -> None:
        message = cast("Message[In]", slot.message)
        self._crew.put(lambda: self._call(message, work))

    def abandon(self) -> None:
        left = sum(not slot.is_done for slot in self.slots)
        super().abandon()
        self._crew.dismiss()
        if left:
            logger.warning("%s: %s messages were not done; calls that still run are left behind", self, left)

    def _wait_for(self, work: Work[Out]) -> None:
        """No wake is lost: who waits says so and then looks, who finishes writes its outcome and then looks."""
        self._arrived.clear()
        self._awaited = work
        if work.outcome is None:
            self._arrived.wait(HEAD_SECONDS)
        self._awaited = None

    def _call(self, message: Message[In], work: Work[Out]) -> None:
        """On a thread of the crew."""
        if work.abandoned:
            return
        try:
            result: Any = self._function(message)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised at the position of its message
            work.fail(error)
        else:
            work.succeed(result)
        if self._awaited is work:
            self._arrived.set()
