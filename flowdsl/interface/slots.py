"""Outcomes that arrive later: they leave in the order in which their messages came, whenever they arrive.

The rule is: workers write to one ``Work``, once, and touch nothing else; everything else happens on the thread that
drives the pipeline.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from itertools import count
from typing import Any, Generic, TypeVar

from msgspec import Struct

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.errors import InvalidMessage
from flowdsl.interface.invalid import pass_over
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.types import FilteredPayload, Message

In = TypeVar("In")
Out = TypeVar("Out")
Result = TypeVar("Result")

_assignments = count(1)


def next_assignment() -> int:
    """A number that no assignment had before."""
    return next(_assignments)


class Succeeded(Struct, Generic[Result], frozen=True, gc=False):
    """A piece of work came to its end. There are as many as records under way, and no result knows of it: the garbage
    collector need not look at them.
    """

    value: Result


class Failed(Struct, frozen=True):
    """A piece of work raised."""

    error: BaseException


class Work(Generic[Result]):
    """One attempt at one message; all that a worker holds.

    No lock is needed. ``outcome`` goes from None to a complete object by one assignment, which the interpreter
    does not divide: who reads it sees nothing or everything. A later attempt is another ``Work``, and a new assignment
    has other slots, so whatever a late worker writes is read by nobody. ``abandoned`` goes from False to True, written
    by the pipeline's thread alone; a worker that reads it too early does work for nothing, and no harm.
    """

    __slots__ = ("abandoned", "assignment", "attempt", "outcome")

    def __init__(self, attempt: int, assignment: int) -> None:
        self.attempt = attempt
        self.assignment = assignment
        self.outcome: Succeeded[Result] | Failed | None = None
        self.abandoned = False

    def succeed(self, value: Result) -> None:
        self.outcome = Succeeded(value)

    def fail(self, error: BaseException) -> None:
        self.outcome = Failed(error)


class Slot(Generic[In, Result]):
    """A message and the work on it that counts; ``work`` is None for a message that was done when it came."""

    __slots__ = ("handle", "message", "work")

    def __init__(self, message: Message[In | FilteredPayload], work: Work[Result] | None) -> None:
        self.message = message
        self.work: Work[Result] | None = work
        self.handle: Any = None
        """Whatever the strategy needs to find the work again: a future, a task."""

    def again(self) -> Work[Result]:
        """A further attempt. What the one before it still brings does not count any more."""
        if self.work is None:
            msg = "a message that was done when it came is not attempted"
            raise ValueError(msg)
        self.work.abandoned = True
        work: Work[Result] = Work(self.work.attempt + 1, self.work.assignment)
        self.work = work
        return work

    @property
    def is_done(self) -> bool:
        return self.work is None or self.work.outcome is not None


class SlotStep(Step[In, Out], Generic[In, Out, Result]):
    """A step whose work ends elsewhere. Subclasses fill in ``start``, and ``collect`` and ``cancel`` where needed.

    At most ``max_slots`` messages are held. An error surfaces at the position of its message: what came before has left
    by then, and unless it is an InvalidMessage, what came after never leaves.
    """

    def __init__(self, next_step: ProcessingStrategy[Out], max_slots: int, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(next_step, clock=clock)
        self.assignment = next_assignment()
        self.max_slots = max_slots
        self.slots: deque[Slot[In, Result]] = deque()

    # -- hooks ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def start(self, slot: Slot[In, Result], work: Work[Result]) -> None:
        """Begin the work. Raises MessageRejected, having touched nothing, where there is no room for it."""

    def collect(self) -> None:
        """Fetch outcomes from where they gather. Not needed where workers write to their ``Work`` themselves."""

    def cancel(self, slot: Slot[In, Result]) -> None:
        """Stop work that is not wanted any more, if that is possible without blocking."""

    def finish(self, slot: Slot[In, Result], value: Result) -> Message[Any]:
        """What is handed on for a message whose work ended well."""
        return slot.message.replace(value)

    # -- how it stands on Step ------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        return len(self.slots) + self.waiting < self.max_slots

    def accept(self, message: Message[In | FilteredPayload]) -> None:
        if not isinstance(message.payload, FilteredPayload):
            work: Work[Result] = Work(1, self.assignment)
            slot = Slot[In, Result](message, work)
            self.start(slot, work)
            self.slots.append(slot)
        elif self.slots:
            self.slots.append(Slot(message, None))
        else:
            self.emit(message)

    def advance(self) -> None:
        self.collect()
        while self.slots and self.slots[0].is_done:
            slot = self.slots[0]
            outcome = None if slot.work is None else slot.work.outcome
            if isinstance(outcome, Failed):
                self._fail(slot, outcome.error)
                return
            self.slots.popleft()
            self.emit(slot.message if outcome is None else self.finish(slot, outcome.value))

    def is_busy(self) -> bool:
        return bool(self.slots)

    def join(self, timeout: float | None = None) -> None:
        try:
            super().join(timeout)
        finally:
            self.abandon()

    def abandon(self) -> None:
        slots, self.slots = self.slots, deque()
        for slot in slots:
            if slot.work is not None and slot.work.outcome is None:
                slot.work.abandoned = True
                self.cancel(slot)

    def _turn(self) -> None:
        super()._turn()
        if self.slots and self.slots[0].is_done and not self.waiting:
            super()._turn()  # a failure whose turn came when the last result before it left

    def _fail(self, slot: Slot[In, Result], error: BaseException) -> None:
        if isinstance(error, InvalidMessage):
            passed = pass_over(slot.message, error)
            self.slots.popleft()
            if passed is not None:
                self.emit(passed)
            raise error
        if not self.waiting:  # else what came before is still to be handed on
            self.abandon()
            raise error
