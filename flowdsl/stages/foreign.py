"""Hand-written strategies inside a compiled pipeline: chunks become single messages before them, and chunks again behind.

What goes in is remembered in a ``Passage``, so that the offsets which come out can be told as marks, in the order of
arrival. It goes in record by record, since an invalid one that is tried again holds up what comes later of its partition.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flowdsl.clock import Clock, Deadline
from flowdsl.errors import FlowError, InvalidMessage
from flowdsl.interface.step import DRAIN_PAUSE, Step
from flowdsl.interface.strategy import MessageRejected, ProcessingStrategy
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Failure, Handler, Verdict
from flowdsl.stages.foreign_ends import ForeignEnd, SelfCommit
from flowdsl.stages.passage import Passage, Passing
from flowdsl.stages.returning import Returning
from flowdsl.stages.switch import GRACE
from flowdsl.types import FilteredPayload, Message


class ForeignStage(Step[Any, Any]):
    """Hands chunks to a hand-written strategy, message by message, and asks the step's policy about invalid ones."""

    def __init__(
        self,
        passage: Passage,
        step: StepContext,
        handler: Handler,
        strategy: ProcessingStrategy[Any],
        end: ForeignEnd | SelfCommit,
        *,
        clock: Clock,
    ) -> None:
        super().__init__(strategy, clock=clock)
        self._passage, self._step, self._handler, self._end = passage, step, handler, end
        self._failures: deque[Failure] = deque()
        self._queue: deque[Passing] = deque()
        self._given: Passing | None = None
        """The record whose values are in the outbox."""
        self._returning = Returning(passage, clock)
        self._until: float | None = None
        """Until when records may still be given again, once time is short."""
        self._joined = False

    # -- hooks of the base ----------------------------------------------------------------------------------------

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        chunk: Any = message.value
        self._step.count.received += len(chunk.values)
        self._queue += self._passage.enter(chunk)
        self._give_next()

    def has_room(self) -> bool:
        return not (self._outbox or self._queue or self._failures) and self._returning.has_room

    def is_busy(self) -> bool:
        switch = self._step.run.switch
        if self._closed and self._until is None and switch.stopping:
            self._until = self.clock() + GRACE  # what is to be tried later will be read again
        if switch.is_late:
            return False
        return bool(self._queue or self._failures) or self._returning.is_worth_waiting_for(self._until)

    def own_deadline(self) -> float | None:
        return None if self._outbox else self._returning.deadline()

    def advance(self) -> None:
        while self._failures and self._handler.handle(self._failures[0]) is Verdict.DROP:
            self._failures.popleft()
        if not (self._queue or self._outbox or self._joined):
            given, in_vain = self._returning.due(is_held_up=self._end.is_held_up)
            self._queue += given
            self._failures += in_vain
        self._give_next()

    def abandon(self) -> None:
        self._failures.clear()
        self._queue.clear()
        self._returning.clear()

    def _give_next(self) -> None:
        """Record by record, apart from what must not pass one that is to be given again."""
        while self._queue and not self._outbox:
            given = self._queue.popleft()
            if not self._returning.holds_back(given):
                self._given = given
                self._passage.give(given)
                self._outbox += given.messages

    def _hand_on(self) -> None:
        super()._hand_on()
        while self._queue and not self._outbox:
            self._give_next()
            super()._hand_on()

    # -- what a strategy may raise --------------------------------------------------------------------------------

    def submit(self, message: Message[Any | FilteredPayload]) -> None:
        self._guarded(lambda: super(ForeignStage, self).submit(message))
        while self._invalid:  # one about the beginning of this chunk; those about the rest of it are noted below
            self._note(self._invalid.popleft())
        while self._outbox or self._queue:
            before = len(self._outbox), len(self._queue)
            self._guarded(self._turn)
            if (len(self._outbox), len(self._queue)) == before:
                return

    def poll(self) -> None:
        before = self._passage.unsettled
        if self._guarded(super().poll) and not self._failures:
            self._settle(before)  # what was let go meanwhile may still be spoken of

    def join(self, timeout: float | None = None) -> None:
        deadline = Deadline.after(self.clock, timeout)
        if timeout is not None or self._step.run.switch.stopping:
            self._until = self.clock() + GRACE  # what is to be tried later will be read again
        try:
            while not self._guarded(lambda: super(ForeignStage, self).join(deadline.remaining())):
                pass
            self.advance()
            while self._failures and not (deadline.expired or self._step.run.switch.is_late):
                deadline.pause(DRAIN_PAUSE)
                self.advance()
            if not self._failures:
                self._settle(self._passage.unsettled)
        finally:
            self._end.join_onward(deadline.remaining())

    def _join_downstream(self, deadline: Deadline) -> None:
        self._joined = True
        super()._join_downstream(deadline)

    def _later(self, call: Callable[[], None]) -> None:
        """Nobody is told of an invalid record but this stage, and it notes them in their order."""
        self._guarded(call)

    def _guarded(self, call: Callable[[], None]) -> bool:
        """Whether the call came to its end without a word about an invalid record, which is noted."""
        try:
            call()
        except InvalidMessage as invalid:
            self._note(invalid)
            return False
        except (MessageRejected, FlowError):
            raise
        except Exception as error:
            raise self._failed(error) from error
        return True

    def _settle(self, let_go: Sequence[Passing]) -> None:
        """The strategy came to the end of a call: it has said all that it had to say about what it had let go before."""
        self._end.settled(self._passage.settle(let_go))

    def _note(self, invalid: InvalidMessage) -> None:
        passing = self._passage.find(invalid.partition, invalid.offset)
        if passing is None:
            text = f"{invalid}: it is not inside {self._step.name}, so nothing can be done about it"
            raise FlowError(text) from invalid
        if passing.taken_back:
            return  # it was told before
        passing.attempts += 1
        failure = Failure(self._step.site, invalid, passing.input, passing.members, passing.attempts)
        again = self._handler.again(failure)
        if again is None or (self._joined and self._until is None):
            passing.values = 0  # nothing of it is delivered
            self._failures.append(failure)
            return
        self._passage.take_back(passing, self._unsent(passing))
        self._returning.set_aside(passing, failure, again)

    def _unsent(self, passing: Passing) -> list[Message[Any]] | None:
        """The values of a record from the one on that was refused; None where all of them had been handed on."""
        rest = list(self._outbox)
        if passing is not self._given or not rest or isinstance(rest[0].payload, FilteredPayload):
            return None
        self._outbox.clear()
        return passing.messages[-len(rest) - 1 :]

    def _failed(self, error: Exception) -> Exception:
        """An exception of a hand-written strategy leaves it in any state: the run ends, whatever the policy."""
        self._step.run.switch.fail()
        oldest = self._passage.oldest
        if not self._failures:
            self._passage.settle(self._passage.unsettled)
        if oldest is None:
            return error
        return Failure(self._step.site, error, oldest.input, oldest.members).raised()

    def __str__(self) -> str:
        return self._step.name
