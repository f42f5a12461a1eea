"""Writing values by hand: each is turned into a record, sent, and waited for.

Values may be endless and may fail half-way, so they are sent in slices as they come; the error says how many were written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from msgspec import Struct

from flowdsl.brokers.naming import check_topic_name
from flowdsl.brokers.outgoing import as_bytes, as_headers, as_timestamp, as_value, part_of, partition_index
from flowdsl.brokers.protocols import Delivery, Outgoing, Producer
from flowdsl.clock import Clock, Deadline
from flowdsl.errors import DeliveryFailed, told

SLICE = 1000
PATIENCE = 10.0
"""Seconds without any progress after which the broker is taken to be out of reach."""


class Template(Struct, frozen=True):
    """How values become records: every part is a value or a function of the value. ``encode`` gets no None."""

    topic: Any
    key: Any = None
    headers: Any = None
    timestamp: Any = None
    partition: Any = None
    encode: Callable[[Any], Any] | None = None

    def record(self, value: Any) -> Outgoing:
        """Raises TypeError or ValueError naming argument and value, and whatever the user's functions raise."""
        as_is = self.encode is None or value is None
        encoded = value if as_is else as_value(part_of(self.encode, value, "encode"))
        return Outgoing(
            check_topic_name(part_of(self.topic, value, "topic")),
            partition_index(part_of(self.partition, value, "partition")),
            as_bytes(part_of(self.key, value, "key"), "key"),
            as_bytes(encoded, "value"),
            as_headers(part_of(self.headers, value, "headers")),
            as_timestamp(part_of(self.timestamp, value, "timestamp")),
        )


def write(producer: Producer, template: Template, values: Iterable[Any], clock: Clock) -> int:
    """How many records were acknowledged: all. Raises what the first that was not failed with, or what a value raised."""
    delivery = Delivery()
    sent = 0
    iterator = iter(values)
    try:
        while True:
            outgoing: list[Outgoing] = []
            try:
                outgoing.extend(template.record(value) for value in islice(iterator, SLICE))
            finally:
                sent = _send(producer, outgoing, delivery, sent, clock)  # also those before one that raised
            if len(outgoing) < SLICE:
                break
    except DeliveryFailed:
        raise
    except BaseException as error:
        _wait(producer, delivery, clock)
        error.add_note(f"{sent - len(delivery.failed)} values before this one were written.")
        raise
    _wait(producer, delivery, clock)
    if delivery.failed:
        first, failure = min(delivery.failed.items())
        msg = f"{len(delivery.failed)} of {sent} records were not written, the first of them number {first}: {told(failure)}"
        raise type(failure)(msg) from failure
    return sent


def _send(producer: Producer, outgoing: list[Outgoing], delivery: Delivery, sent: int, clock: Clock) -> int:
    """Queue all of these, waiting for room; the number that was sent in all."""
    done = 0
    deadline = Deadline.after(clock, PATIENCE)
    while done < len(outgoing):
        taken = producer.send(outgoing[done:], delivery, sent + done)
        done += taken
        waiting = delivery.waiting
        producer.poll(0.0 if taken else 0.1)
        if taken or delivery.waiting < waiting:
            deadline = Deadline.after(clock, PATIENCE)
        elif deadline.expired:
            raise _unanswered(delivery, sent + done)
    return sent + done


def _wait(producer: Producer, delivery: Delivery, clock: Clock) -> None:
    deadline = Deadline.after(clock, PATIENCE)
    while delivery.waiting:
        waiting = delivery.waiting
        producer.poll(0.1)
        if delivery.waiting < waiting:
            deadline = Deadline.after(clock, PATIENCE)
        elif deadline.expired:
            raise _unanswered(delivery, waiting)


def _unanswered(delivery: Delivery, sent: int) -> DeliveryFailed:
    return DeliveryFailed(
        f"the broker acknowledged nothing for {PATIENCE:g} seconds; {delivery.waiting} of {sent} records are unanswered and "
        "may or may not have been written. Is the broker running?"
    )
