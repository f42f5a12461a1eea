"""A step whose function runs elsewhere, on many values at once. Only the thread that drives the pipeline comes here.

A value has an entry until it leaves; an attempt at it is a task, which workers fill in. What comes of tasks that do not
count any more, of an earlier attempt or an earlier assignment, is looked at by nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowdsl.clock import Deadline
from flowdsl.errors import FlowError
from flowdsl.interface.step import DRAIN_PAUSE, Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.reactive.workers import Workers
from flowdsl.stages.attempts import Attempts
from flowdsl.stages.endings import Endings, Finisher
from flowdsl.stages.ledger import MOST_APART
from flowdsl.stages.orders import Order
from flowdsl.stages.switch import GRACE
from flowdsl.types import FilteredPayload, Message

SUBMIT_SECONDS = 0.005
"""A full stage waits so long for work to end before it rejects: rejecting costs more than waiting."""
TURN_SECONDS = 0.05
"""Workers that run on this very thread get no more than that at a time."""


class ConcurrentStage(Step[Any, Any]):
    """Hands values to workers and their results to a kernel, which knows what to make of them."""

    def __init__(
        self,
        kernel: Finisher,
        workers: Workers,
        order: Order,
        next_step: ProcessingStrategy[Any],
        *,
        key: Callable[[Any], Any] | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(next_step, clock=kernel.step.clock)
        self.kernel, self._order = kernel, order
        self._timeout = timeout
        self._attempts = Attempts(workers, kernel.step.run.bell, timeout)
        self._endings = Endings(kernel, order, self._attempts.outlet, lambda chunk: self.emit(Message(chunk)), key)
        self._switch = kernel.step.run.switch
        self._ended = False
        self._until: float | None = None
        """Until when values may still begin, once time is short."""
        self._dropped = False

    # -- hooks of the base ----------------------------------------------------------------------------------------

    def submit(self, message: Message[Any | FilteredPayload]) -> None:
        if not (self._closed or self._ended) and self._is_full():
            self._wait_for_room()
        super().submit(message)

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        chunk: Any = message.value  # between stages there are chunks only
        if self._ended:
            return
        self._endings.accept(chunk)
        self._work()

    def has_room(self) -> bool:
        return not self._outbox and not self._is_full()

    def is_busy(self) -> bool:
        if self._dropped and not self._ended:
            return self._attempts.under_way > 0 or self._order.has_leaving
        return bool(self._endings)

    def advance(self) -> None:
        if self._switch.is_late:
            self.abandon()
        if not self._ended:
            self._work()

    def abandon(self) -> None:
        self._ended = True
        self._order.ready.clear()
        self._attempts.cancel(begun=True)
        self._endings.clear()

    def own_deadline(self) -> float | None:
        if self._outbox:
            return None  # what is full downstream says when to look again
        if self._order.ready and self._attempts.room > 0:
            return self.clock()
        moments = (self._attempts.deadline(), self._endings.next_try())
        return min((moment for moment in moments if moment is not None), default=None)

    def join(self, timeout: float | None = None) -> None:
        if timeout is not None:
            self._hurry()
        try:
            super().join(timeout)
        finally:
            self.abandon()

    def rest(self, deadline: Deadline) -> None:
        left = deadline.remaining()
        self._attempts.wait_for_some(DRAIN_PAUSE if left is None else min(left, DRAIN_PAUSE))

    # -- beginning ------------------------------------------------------------------------------------------------

    def _is_full(self) -> bool:
        if self._dropped:
            return False  # what comes now is never begun; the steps before this one must not wait for it
        waiting = self._endings.unopened + len(self._order.ready)
        return waiting >= self._attempts.capacity or self._endings.span >= MOST_APART

    def _wait_for_room(self) -> None:
        until = self.clock() + SUBMIT_SECONDS
        while not self._outbox and self._is_full() and self._attempts.under_way:
            left = until - self.clock()
            if left <= 0:
                return
            self._attempts.wait_for_some(left)
            if not self._attempts.has_news:
                return
            self._later(self._turn)

    def _work(self) -> None:
        """Collect, let leave what may, begin what can; again as long as work ends at once."""
        until = self.clock() + TURN_SECONDS
        while True:
            self._collect()
            if not self._dropped:
                self._endings.open(self._attempts.room)
            if not self._outbox:
                self._leave()
            self._begin()
            if not self._attempts.has_news or self._outbox or self.clock() >= until:
                return

    def _collect(self) -> None:
        try:
            ended, late = self._attempts.collect(), self._attempts.give_up_late()
        except FlowError:
            self.abandon()  # the workers cannot go on: the run ends
            raise
        interrupt = self._endings.ended(ended)
        if late:
            self._endings.exceeded(late, self._timeout or 0.0)
        if interrupt is not None:
            self._switch.interrupted(interrupt)

    def _leave(self) -> None:
        try:
            self._endings.leave()
        except BaseException:
            self.abandon()
            self._switch.fail()
            raise

    def _begin(self) -> None:
        if self._switch.hurries:
            self._hurry()
        if self._ended or self._dropped:
            return
        now = self.clock()
        self._endings.try_again(now)
        ready, room = self._order.ready, self._attempts.room
        if ready and room > 0:
            self._attempts.begin([ready.popleft() for _ in range(min(room, len(ready)))])
        if self._until is not None and (now >= self._until or self._waits_in_vain(self._until)):
            self._drop_rest()

    def _hurry(self) -> None:
        """What has begun is waited for; what has not may still begin for a moment."""
        if self._until is None:
            self._until = self.clock() + GRACE

    def _waits_in_vain(self, until: float) -> bool:
        again = self._endings.next_try()
        order = self._order  # what leaves may let others of its key begin
        is_idle = self._closed and not (order.ready or order.has_leaving or self._attempts.under_way)
        return is_idle and (again is None or again > until)

    def _drop_rest(self) -> None:
        """What has not begun will be read again."""
        self._dropped = True
        self._order.ready.clear()
        self._endings.try_no_more()
        self._attempts.cancel(begun=False)

    def __str__(self) -> str:
        return self.kernel.step.name
