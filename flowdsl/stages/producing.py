"""The stage behind a flow that ends in a broker's topic: an offset moves once its record was acknowledged.

Chunks leave in the order in which they came. When a record was refused, it is the record that the step's policy is
asked about, and not the chunk that it travelled in. One that is sent again was passed by those that were taken
meanwhile; its chunk leaves, and all behind it, once it is there.

A topic that is gone, or that one may not write to, is the fault of no record, unless its value named the topic: with
``on_error="skip"`` everything would be passed over. So it ends the run under every policy.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from flowdsl.brokers.protocols import Producer
from flowdsl.chunks import progress
from flowdsl.clock import Clock
from flowdsl.errors import DeliveryFailed, NotAuthorized, TopicNotFound
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.stages.context import StepContext
from flowdsl.stages.ending import delivered
from flowdsl.stages.failures import Handler, Verdict
from flowdsl.stages.sending import Sending
from flowdsl.stages.switch import GRACE
from flowdsl.types import FilteredPayload, Message

MOST_UNDER_WAY = 10_000
"""Records that may wait for their acknowledgement."""
_OF_A_RECORD = (DeliveryFailed,)
_OF_A_RECORD_THAT_NAMES_ITS_TOPIC = (DeliveryFailed, TopicNotFound, NotAuthorized)


class ProduceStage(Step[Any, Any]):
    """Takes chunks of values with their records, and chunks without values.

    ``topic``: where all of them go; None where each says so itself.
    """

    def __init__(
        self,
        step: StepContext,
        handler: Handler,
        producer: Producer,
        next_step: ProcessingStrategy[Any],
        *,
        topic: str | None,
        clock: Clock,
    ) -> None:
        super().__init__(next_step, clock=clock)
        self._step, self._handler, self._producer = step, handler, producer
        self._of_a_record = _OF_A_RECORD_THAT_NAMES_ITS_TOPIC if topic is None else _OF_A_RECORD
        self._under_way: deque[Sending] = deque()
        self._count = 0
        self._ended = False
        self._until: float | None = None
        """Until when refused records may still be sent again, once time is short."""

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        chunk: Any = message.value
        if self._ended:
            return
        if not chunk.values and not self._under_way:
            self.emit(Message(chunk))
            return
        self._under_way.append(Sending(chunk))
        self._count += len(chunk.values)
        self._send()

    def has_room(self) -> bool:
        if self._outbox or self._count >= MOST_UNDER_WAY:
            return False
        return all(sending.is_sent for sending in self._under_way)

    def advance(self) -> None:
        if self._step.run.switch.is_late:
            self.abandon()
        self._producer.poll()
        self._send()
        while self._under_way and self._under_way[0].is_answered:
            if not self._settle(self._under_way[0]):
                return
            self._leave(self._under_way.popleft())

    def is_busy(self) -> bool:
        return bool(self._under_way)

    def own_deadline(self) -> float | None:
        if not self._under_way or not self._under_way[0].is_answered:
            return None  # nothing is sent again before that, and answers come when they come
        return min(self._under_way[0].again.values(), default=None)

    def join(self, timeout: float | None = None) -> None:
        if timeout is not None or self._step.run.switch.stopping:
            self._until = self.clock() + GRACE
        super().join(timeout)

    def abandon(self) -> None:
        if self._under_way:
            self._producer.purge()
        self._under_way.clear()
        self._count = 0
        self._ended = True

    def _send(self) -> None:
        for sending in self._under_way:
            if not sending.is_sent:
                sending.send(self._producer)
                if not sending.is_sent:
                    return

    def _settle(self, sending: Sending) -> bool:
        """Send again what is worth it, ask what to do about the other records that were refused; False to wait."""
        sending.ask(self._handler, self._step.site)
        if sending.again:
            if self._until is not None and min(sending.again.values()) > self._until:
                self._end_before(sending, sending.first_undone)
            else:
                sending.send_again(self._producer, self.clock())
            return False
        while sending.lost:
            index = min(sending.lost)
            failure = sending.lost[index]
            try:
                if not isinstance(failure.error, self._of_a_record):
                    raise failure.error
                verdict = self._handler.handle(failure)
            except BaseException:
                self._end_before(sending, index)
                self._step.run.switch.fail()
                raise
            if verdict is Verdict.WAIT:
                return False
            sending.drop(index)
        return True

    def _end_before(self, sending: Sending, index: int) -> None:
        """Nothing leaves any more: what was acknowledged before the refused record is complete, nothing else is."""
        head = sending.chunk.head(index)
        self._report(head.values)
        self.emit(Message(progress(head.mark)))
        self._under_way.clear()
        self._ended = True

    def _leave(self, sending: Sending) -> None:
        self._count = sum(len(each.chunk) for each in self._under_way)
        self._report(sending.chunk.values)
        self.emit(Message(progress(sending.chunk.mark)))

    def _report(self, values: list[Any]) -> None:
        self._step.count.emitted += len(values)
        delivered(self._step, values)

    def __str__(self) -> str:
        return self._step.name
