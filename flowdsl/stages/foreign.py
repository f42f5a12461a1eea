"""Hand-written strategies inside a compiled pipeline: chunks become single messages before them, and chunks again behind.

What goes in is remembered in a ``Passage``, so that the offsets which come out can be told as marks, in the order of
arrival.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from flowdsl.chunks import Chunk, progress
from flowdsl.clock import Clock, Deadline
from flowdsl.errors import FlowError, InvalidMessage
from flowdsl.origins import Picked
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Failure, Handler, Verdict
from flowdsl.stages.passage import Passage
from flowdsl.strategies.interface import MessageRejected, ProcessingStrategy
from flowdsl.strategies.step import DRAIN_PAUSE, Step
from flowdsl.types import FilteredPayload, Message, Partition


class ForeignEnd(Step[Any, Any]):
    """What a hand-written strategy in the middle hands its results to.

    The strategy joins this before it is known whether a record that it let go was invalid. So what is behind is joined
    by the stage around the strategy, once that is settled.
    """

    def __init__(
        self, passage: Passage, step: StepContext, next_step: ProcessingStrategy[Any], *, clock: Clock
    ) -> None:
        super().__init__(next_step, clock=clock)
        self._passage, self._step = passage, step
        self._told = 0

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        if isinstance(message.payload, FilteredPayload):
            self._passage.let_go(message.committable)
            return
        members = self._passage.leave(message.committable)
        if not members:
            text = (
                f"{self._step.name} handed on a value before any record had entered it: nobody can tell when it is done"
            )
            raise FlowError(text)
        self._told = self._passage.mark
        self._step.count.emitted += 1
        onward: Chunk[Any] = Chunk([message.payload], self._told, Picked([members]))
        self.emit(Message(onward))

    def advance(self) -> None:
        """Hand on progress that no value carries."""
        if self._passage.mark > self._told:
            self._told = self._passage.mark
            self.emit(Message(progress(self._told)))

    def settled(self, values: int) -> None:  # noqa: ARG002  # they were filtered
        """So many values that left without one of their own are done."""
        self.advance()

    def close(self) -> None:
        """The strategy may have more to hand on until ``join_onward``."""

    def join(self, timeout: float | None = None) -> None:
        """See ``join_onward``."""

    def join_onward(self, timeout: float | None) -> None:
        """Hand on all that is left; then close and join what is behind."""
        super().join(timeout)


class SelfCommit:
    """The ``commit`` of a hand-written strategy that ends the flow. Stands where ``ForeignEnd`` does otherwise."""

    def __init__(self, passage: Passage, step: StepContext) -> None:
        self._passage, self._step = passage, step

    def __call__(self, offsets: Mapping[Partition, int], force: bool = False) -> None:  # noqa: ARG002  # the loop's policy decides
        self._passage.let_go(offsets)

    def settled(self, values: int) -> None:
        """So many values that were committed are done."""
        self._step.count.emitted += values
        self._step.ledger.advance(self._passage.mark)

    def join_onward(self, timeout: float | None) -> None:  # noqa: ARG002  # there is nothing behind
        self.settled(0)


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

    # -- hooks of the base ----------------------------------------------------------------------------------------

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        chunk: Any = message.value
        self._step.count.received += len(chunk.values)
        for each in self._passage.enter(chunk):
            self.emit(each)

    def has_room(self) -> bool:
        return not self._outbox and not self._failures

    def is_busy(self) -> bool:
        return bool(self._failures)

    def advance(self) -> None:
        while self._failures and self._handler.handle(self._failures[0]) is Verdict.DROP:
            self._failures.popleft()

    def abandon(self) -> None:
        self._failures.clear()

    # -- what a strategy may raise --------------------------------------------------------------------------------

    def submit(self, message: Message[Any | FilteredPayload]) -> None:
        self._guarded(lambda: super(ForeignStage, self).submit(message))
        while self._invalid:  # one about the beginning of this chunk; those about the rest of it are noted below
            self._note(self._invalid.popleft())
        while self._outbox:
            before = len(self._outbox)
            self._guarded(self._turn)
            if len(self._outbox) == before:
                return

    def poll(self) -> None:
        if self._guarded(super().poll) and not self._failures:
            self._settle()

    def join(self, timeout: float | None = None) -> None:
        deadline = Deadline.after(self.clock, timeout)
        try:
            while not self._guarded(lambda: super(ForeignStage, self).join(deadline.remaining())):
                pass
            self.advance()
            while self._failures and not deadline.expired:
                deadline.pause(DRAIN_PAUSE)
                self.advance()
            if not self._failures:
                self._settle()
        finally:
            self._end.join_onward(deadline.remaining())

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

    def _settle(self) -> None:
        """The strategy came to the end of a call: it has said all that it had to say about what it let go."""
        self._end.settled(self._passage.settle())

    def _note(self, invalid: InvalidMessage) -> None:
        passing = self._passage.find(invalid.partition, invalid.offset)
        if passing is None:
            text = f"{invalid}: it is not inside {self._step.name}, so nothing can be done about it"
            raise FlowError(text) from invalid
        passing.values = 0  # nothing of it is delivered
        self._failures.append(Failure(self._step.site, invalid, passing.input, passing.members))

    def _failed(self, error: Exception) -> Exception:
        """An exception of a hand-written strategy leaves it in any state: the run ends, whatever the policy."""
        self._step.run.switch.fail()
        oldest = self._passage.oldest
        if not self._failures:
            self._passage.settle()
        if oldest is None:
            return error
        return Failure(self._step.site, error, oldest.input, oldest.members).raised()

    def __str__(self) -> str:
        return self._step.name
