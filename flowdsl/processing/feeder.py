"""Hands what was read to the pipeline. The one owner of records that wait because the pipeline rejected them, and of
which partitions are paused.

Pausing throws away what the client fetched ahead, so it happens only after ``PAUSE_AFTER`` seconds in which the loop
could not read; from then on the consumer is read while paused, so that it stays a member of its group.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from flowdsl.brokers.protocols import Consumer
from flowdsl.clock import Clock
from flowdsl.errors import InvalidMessage
from flowdsl.interface.strategy import MessageRejected, ProcessingStrategy
from flowdsl.processing.pace import Pace
from flowdsl.records import Records
from flowdsl.stages.switch import Switch
from flowdsl.types import BrokerValue, KafkaPayload, Message, Partition

PAUSE_AFTER = 2.0
"""Seconds of back-pressure after which the partitions are paused."""
TURN_SECONDS = 0.1
"""How long one turn of the loop hands on records before it looks at everything else."""

logger = logging.getLogger("flowdsl")

Poll = Callable[[ProcessingStrategy[Any]], None]
Submit = Callable[[ProcessingStrategy[Any], Records, int, int], int]
"""Submits the records from one index up to another; returns how many were taken. Raises MessageRejected for none."""


def polled(pipeline: ProcessingStrategy[Any]) -> None:
    """Nothing more than that."""
    pipeline.poll()


def in_chunks(pipeline: ProcessingStrategy[Any], records: Records, start: int, stop: int) -> int:
    """One message that carries all of them: for compiled pipelines."""
    is_whole = start == 0 and stop == len(records)
    pipeline.submit(Message(records if is_whole else records.window(start, stop)))
    return stop - start


def one_message_each(pipeline: ProcessingStrategy[Any], records: Records, start: int, stop: int) -> int:  # noqa: ARG001  # see Submit
    """The first of them, as strategies written by hand know it."""
    pipeline.submit(Message(broker_value(records, start)))
    return 1


def broker_value(records: Records, index: int) -> BrokerValue[KafkaPayload]:
    """One record as strategies written by hand know it."""
    partition, offset = records.place(index)
    record = records.record(index)
    return BrokerValue(KafkaPayload(record.key, record.value, record.headers), partition, offset, record.timestamp)


class Feeder:
    """Records on their way from the consumer into the pipeline."""

    def __init__(
        self, consumer: Consumer, submit: Submit, *, clock: Clock, switch: Switch, before_each: Poll | None = None
    ) -> None:
        self._consumer, self._submit, self._clock, self._switch = consumer, submit, clock, switch
        self._before_each = before_each
        self.pace = Pace(consumer.largest_read)
        self.taken = 0
        """How many records the pipelines of this run took."""
        self._records: Records | None = None
        self._at = 0
        self._behind: deque[Records] = deque()
        """What was read while records waited: positions, as a rule, since partitions are paused then."""
        self._waiting_since: float | None = None
        self._assigned: set[Partition] = set()
        self._paused = False

    @property
    def is_empty(self) -> bool:
        return self._records is None

    @property
    def must_read(self) -> bool:
        """Whether the consumer must be read although records wait: it has not been for long."""
        return self._paused or (self._waiting_since is not None and self._clock() - self._waiting_since >= PAUSE_AFTER)

    def give(self, records: Records) -> None:
        """Take what a read brought, behind what waits. A position alone is nothing that could be a message of its own."""
        if not (len(records) or (records.positions and self._before_each is None)):
            return
        if self._records is not None:
            self._behind.append(records)
            return
        self.pace.arrived(records)
        self._records, self._at, self._waiting_since = records, 0, self._clock()

    def drop(self) -> None:
        """Forget what waits: it will be read again, or belongs to somebody else."""
        self._records, self._at = None, 0
        self._behind.clear()

    def feed(self, pipeline: ProcessingStrategy[Any]) -> bool:
        """Hand on what waits, for a while. False: the pipeline rejected it."""
        began = before = self._clock()
        while self._records is not None and not self._switch.stopping:
            if before - began >= TURN_SECONDS:
                return True
            stop = min(self._at + self.pace.slice, len(self._records))
            if self._before_each is not None:
                self._before_each(pipeline)
            try:
                taken = self._submit(pipeline, self._records, self._at, stop)
            except MessageRejected:
                return False
            except InvalidMessage as invalid:
                if self._records.place(self._at) == (invalid.partition, invalid.offset):
                    self._advance(1)  # it was taken; one about an earlier message says nothing about this one
                raise
            self._advance(taken)
            now = self._clock()
            self.pace.worked(taken, now - before)
            before = now
        return True

    def pause(self, reason: str) -> None:
        """Read nothing new from now on, so that the consumer can be read for its group's sake alone."""
        if not self._paused and self._assigned:
            text = "paused %s partitions: no record was taken for %s s; %s"
            logger.info(text, len(self._assigned), PAUSE_AFTER, reason)
            self._consumer.pause(self._assigned)
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._waiting_since = None
            if self._assigned:
                logger.info("resumed %s partitions", len(self._assigned))
                self._consumer.resume(self._assigned)

    def assigned(self, partitions: Collection[Partition]) -> None:
        """These were added. A client may remember that they were paused by an earlier owner: say it for each."""
        self._assigned.update(partitions)
        (self._consumer.pause if self._paused else self._consumer.resume)(partitions)

    def released(self, partitions: Collection[Partition]) -> None:
        self._assigned.difference_update(partitions)

    def _advance(self, taken: int) -> None:
        self._at += taken
        self.taken += taken
        if self._records is not None and self._at >= len(self._records):
            self._records, self._at, self._waiting_since = None, 0, None
            if self._behind:
                self.give(self._behind.popleft())
