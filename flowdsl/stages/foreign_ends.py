"""What a hand-written strategy inside a compiled pipeline ends in: the steps behind it, or commits of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowdsl.chunks import Chunk, progress
from flowdsl.clock import Clock
from flowdsl.errors import FlowError
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.origins import Picked
from flowdsl.stages.context import StepContext
from flowdsl.stages.passage import Passage
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

    @property
    def is_held_up(self) -> bool:
        """Whether what is behind does not take what there is."""
        return bool(self._outbox)

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

    is_held_up = False
    """Nothing is behind it."""

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
