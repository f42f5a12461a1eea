"""The stage behind a flow that ends in a broker's topic: an offset moves once its record was acknowledged.

Chunks leave in the order in which they came. When a record was refused, it is the record that the step's policy is
asked about, and not the chunk that it travelled in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from flowdsl.brokers.protocols import Delivery, Outgoing, Producer
from flowdsl.chunks import Chunk, Part, progress
from flowdsl.clock import Clock
from flowdsl.errors import BrokerError
from flowdsl.stages.context import StepContext
from flowdsl.stages.ending import delivered
from flowdsl.stages.failures import Failure, Handler, Verdict
from flowdsl.strategies.interface import ProcessingStrategy
from flowdsl.strategies.step import Step
from flowdsl.types import FilteredPayload, Message

MOST_UNDER_WAY = 10_000
"""Records that may wait for their acknowledgement."""


class Sendable(Chunk[Any]):
    """Values, and the record to produce for each."""

    __slots__ = ("outgoing",)

    def __init__(self, chunk: Chunk[Any], outgoing: Sequence[Outgoing]) -> None:
        super().__init__(chunk.values, chunk.mark, chunk.origins)
        self.outgoing = outgoing


class _Sending:
    """One chunk on its way: how many of its records were taken by the producer, and what was reported."""

    __slots__ = ("chunk", "delivery", "failure", "outgoing", "taken")

    def __init__(self, chunk: Chunk[Any]) -> None:
        self.chunk = chunk
        self.outgoing: Sequence[Outgoing] = chunk.outgoing if isinstance(chunk, Sendable) else ()
        self.delivery = Delivery()
        self.taken = 0
        self.failure: Failure | None = None

    @property
    def is_sent(self) -> bool:
        return self.taken == len(self.outgoing)

    @property
    def is_answered(self) -> bool:
        return self.is_sent and not self.delivery.waiting


class ProduceStage(Step[Any, Any]):
    """Takes chunks of values with their records, and chunks without values."""

    def __init__(
        self,
        step: StepContext,
        handler: Handler,
        producer: Producer,
        next_step: ProcessingStrategy[Any],
        *,
        clock: Clock,
    ) -> None:
        super().__init__(next_step, clock=clock)
        self._step, self._handler, self._producer = step, handler, producer
        self._under_way: deque[_Sending] = deque()
        self._count = 0
        self._ended = False

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        chunk: Any = message.value
        if self._ended:
            return
        if not chunk.values and not self._under_way:
            self.emit(Message(chunk))
            return
        self._under_way.append(_Sending(chunk))
        self._count += len(chunk.values)
        self._send()

    def has_room(self) -> bool:
        if self._outbox or self._count >= MOST_UNDER_WAY:
            return False
        return all(sending.is_sent for sending in self._under_way)

    def advance(self) -> None:
        self._producer.poll()
        self._send()
        while self._under_way and self._under_way[0].is_answered:
            if not self._settle(self._under_way[0]):
                return
            self._leave(self._under_way.popleft())

    def is_busy(self) -> bool:
        return bool(self._under_way)

    def abandon(self) -> None:
        if self._under_way:
            self._producer.purge()
        self._under_way.clear()
        self._ended = True

    def _send(self) -> None:
        for sending in self._under_way:
            if not sending.is_sent:
                rest = sending.outgoing[sending.taken :] if sending.taken else sending.outgoing
                sending.taken += self._producer.send(rest, sending.delivery, sending.taken)
                if not sending.is_sent:
                    return

    def _settle(self, sending: _Sending) -> bool:
        """Ask what to do about records that were refused; False if that has to wait."""
        failed: dict[int, BrokerError] = sending.delivery.failed
        while failed:
            index = min(failed)
            if sending.failure is None:
                members = sending.chunk.origins.members(index)
                sending.failure = Failure(self._step.site, failed[index], sending.chunk.values[index], members)
            try:
                verdict = self._handler.handle(sending.failure)
            except BaseException:
                self._fail(sending, index)
                raise
            if verdict is Verdict.WAIT:
                return False
            sending.failure = None
            del failed[index]
            sending.outgoing = [*sending.outgoing[:index], *sending.outgoing[index + 1 :]]
            failed = {at - (at > index): error for at, error in failed.items()}
            sending.delivery.failed = failed
            sending.chunk = _without(sending.chunk, index)
        return True

    def _fail(self, sending: _Sending, index: int) -> None:
        """The run ends here: what was acknowledged before the refused record is complete, nothing else is."""
        head = sending.chunk.head(index)
        self._report(head.values)
        self.emit(Message(progress(head.mark)))
        self._under_way.clear()
        self._ended = True
        self._step.run.switch.fail()

    def _leave(self, sending: _Sending) -> None:
        self._count = sum(len(each.chunk) for each in self._under_way)
        self._report(sending.chunk.values)
        self.emit(Message(progress(sending.chunk.mark)))

    def _report(self, values: list[Any]) -> None:
        self._step.count.emitted += len(values)
        delivered(self._step, values)

    def __str__(self) -> str:
        return self._step.name


def _without(chunk: Chunk[Any], index: int) -> Chunk[Any]:
    kept = [*range(index), *range(index + 1, len(chunk))]
    values = [*chunk.values[:index], *chunk.values[index + 1 :]]
    return Chunk(values, chunk.mark, Part(chunk.origins, kept))
