"""Produce: every payload is sent to a topic, and its offsets move once it was acknowledged."""

from __future__ import annotations

from typing import Any, Protocol, cast

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.errors import shown
from flowdsl.interface import arguments
from flowdsl.interface.slots import Slot, SlotStep, Work
from flowdsl.interface.strategy import MessageRejected, ProcessingStrategy
from flowdsl.types import KafkaPayload, Message, Partition, Topic


class Pending(Protocol):
    """A future: what a producer returns for one record."""

    def done(self) -> bool:
        """Whether the broker has answered."""
        ...

    def result(self) -> Any:
        """The record as it was stored; raises what went wrong. Called once it is done."""
        ...


class Produces(Protocol):
    """What this step needs of a producer. One with a ``poll`` of its own is polled, to have its reports served."""

    def produce(self, destination: Topic | Partition, payload: KafkaPayload, /) -> Pending:
        """Send one record. Raises BufferError where the queue is full."""
        ...


class Produce(SlotStep[KafkaPayload, KafkaPayload, object]):
    """Send each payload to ``topic``, and hand the message on, unchanged and in order, once the broker acknowledged it.

    At most ``max_buffer_size`` records are under way; a full queue of the producer counts as no room. What the broker
    refuses is raised from ``poll``, ``submit`` or ``join`` at its position. A value of None is sent as a tombstone.
    ``join`` waits for what is under way; after a crash, or when its time is up, records may be sent again.
    """

    def __init__(
        self,
        producer: Produces,
        topic: Topic | Partition,
        next_step: ProcessingStrategy[KafkaPayload],
        max_buffer_size: int = 10000,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(next_step, arguments.count(max_buffer_size, "max_buffer_size"), clock=clock)
        if not callable(getattr(producer, "produce", None)):
            msg = f"producer must be what broker.producer() returns, not {shown(producer)}"
            raise TypeError(msg)
        if not isinstance(topic, Topic | Partition):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
            msg = f"topic must be a Topic or a Partition, not {shown(topic)}"
            raise TypeError(msg)
        self._producer = producer
        self._topic = topic
        self._serve = getattr(producer, "poll", None)

    def start(self, slot: Slot[KafkaPayload, object], work: Work[object]) -> None:  # noqa: ARG002  # answers are read from futures
        payload = cast("KafkaPayload", slot.message.payload)
        try:
            slot.handle = self._producer.produce(self._topic, payload)
        except BufferError as full:
            raise MessageRejected from full

    def collect(self) -> None:
        if self.slots and self._serve is not None:
            self._serve(0.0)
        for slot in self.slots:  # answers come nearly in order, and only what is done up to here can leave
            if slot.work is None or slot.work.outcome is not None:
                continue
            if not slot.handle.done():
                return
            _read(slot.handle, slot.work)

    def finish(self, slot: Slot[KafkaPayload, object], value: object) -> Message[Any]:  # noqa: ARG002  # that it was acknowledged is enough
        return slot.message


def _read(pending: Pending, work: Work[object]) -> None:
    try:
        acknowledged: object = pending.result()
    except Exception as failed:  # noqa: BLE001  # whatever the producer reports
        work.fail(failed)
    else:
        work.succeed(acknowledged)
