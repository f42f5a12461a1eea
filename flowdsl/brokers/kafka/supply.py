"""Takes messages out of librdkafka: what is there, and the first that comes where nothing is.

``poll`` then ``consume`` of what is there has the latency of the one and the throughput of the other. A read costs as much
for one record as for fifty: where they come fast, and faster than they are left to gather, the loop is busy with reading.
"""

from __future__ import annotations

from collections.abc import Container

from confluent_kafka import Consumer, Message

from flowdsl.brokers.kafka.places import Places
from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.types import Partition

LONGEST_POLL = 0.1
"""Seconds: a signal handler does not wake a poll."""
LONGEST_SERVICE = 0.01
"""Nor does the answer to a commit, or anything else that is told by a callback."""
FAST = 2_000
"""Records per second from which on a read waits ``GATHER_SECONDS``, unless the one before was full."""
GATHER_SECONDS = 0.005
RATE_SECONDS = 0.1
"""How long records are counted to know how fast they come."""
READ_BYTES = 4 * 1024 * 1024
FIRST_READ = 100
SAMPLE = 8


class Supply:
    """Messages, bounded by number and by bytes; those that came while somebody waited for something else are put aside."""

    def __init__(self, handle: Consumer, places: Places, clock: Clock = SYSTEM_CLOCK) -> None:
        self._handle, self.places, self._clock = handle, places, clock
        self._aside: list[Message] = []
        self.most = FIRST_READ
        """How many fit the bytes of one read, as far as that is known."""
        self._counted, self._since = 0, clock()
        self._is_fast = self._was_full = False

    @property
    def is_drained(self) -> bool:
        """Whether nothing is put aside: only then does ``position()`` say where those stand who took what was read."""
        return not self._aside

    def take(self, limit: int, timeout: float) -> list[Message]:
        limit = max(1, min(limit, self.most))
        if self._is_fast and not self._was_full and timeout > 0:
            self._clock.sleep(min(timeout, GATHER_SECONDS))
        messages = self._again(limit) if self._aside else self._handle.consume(limit, 0)
        if not messages and timeout > 0:
            first = self._handle.poll(min(timeout, LONGEST_POLL))
            if first is not None:
                messages.append(first)
                if limit > 1:
                    messages += self._handle.consume(limit - 1, 0)
        self._note(messages, limit)
        now = self._clock()
        if now >= self._since + RATE_SECONDS:
            self._is_fast = self._counted >= FAST * (now - self._since)
            self._counted, self._since = 0, now
        return messages

    def more(self, limit: int) -> list[Message]:
        """What else there is, with nothing put aside and nothing to wait for. Little is done here, many times a second."""
        limit = min(limit, self.most)
        messages = self._handle.consume(limit, 0)
        self._note(messages, limit)
        return messages

    def _again(self, limit: int) -> list[Message]:
        """What was put aside, and what else there is."""
        messages, self._aside = self._aside[:limit], self._aside[limit:]
        if len(messages) < limit:
            messages += self._handle.consume(limit - len(messages), 0)
        return messages

    def serve(self, timeout: float) -> Message | None:
        """Let librdkafka call back. Not from within one of its callbacks: that aborts the process. What came is put aside."""
        message = self._handle.poll(min(timeout, LONGEST_SERVICE))
        if message is not None:
            self._aside.append(message)
        return message

    def put_aside(self, messages: list[Message]) -> None:
        """These were taken, and are to be taken again before all others."""
        self._aside = messages + self._aside

    def drop(self, partitions: Container[Partition]) -> list[Message]:
        """The records of these that are put aside, which are not there any more then. Errors stay: they are told once only."""
        dropped: list[Message] = []
        stays: list[Message] = []
        for message in self._aside:
            is_dropped = message.error() is None and self.partition_of(message) in partitions
            (dropped if is_dropped else stays).append(message)
        self._aside = stays
        return dropped

    def partition_of(self, message: Message) -> Partition:
        return self.places[message.topic() or "", message.partition() or 0]

    def _note(self, messages: list[Message], limit: int) -> None:
        """How many came, and how many fit the bytes of one read, going by the largest of a few: twice as many as before at
        most.
        """
        count = len(messages)
        self._counted += count
        self._was_full = count == limit
        if count:
            most = READ_BYTES // (max(map(len, messages[:: count // SAMPLE or 1])) or 1) or 1
            grown = 2 * max(FIRST_READ, self.most)
            self.most = min(grown, most)
