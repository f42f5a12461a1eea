"""Commits of one consumer: always asynchronous, one under way at a time, each with the epoch of the records before it.

librdkafka answers from within poll, and poll must not be called from within a callback (it aborts the process). So a
commit that is waited for during a rebalance is looked up at the broker instead: both questions travel over one
connection, the second is answered after the first. A broker that has been answering for a while without having it has
refused it, for example because the topic was deleted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flowdsl.brokers.kafka.asking import Asker
from flowdsl.brokers.kafka.errors import error_of, sorted_error
from flowdsl.brokers.kafka.places import named, theirs
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.protocols import Outage
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerError, BrokerUnreachable, Fenced
from flowdsl.types import Partition

Answered = Callable[[BrokerError | None], None]

_LOOK_AGAIN = 0.02
_LONGEST_LOOK = 2.0
_DOUBT = 1.0
"""Seconds for which a broker may say that it does not have a commit, until it is believed."""


class Epochs:
    """The leader epoch that was in force when a partition was read up to an offset."""

    def __init__(self) -> None:
        self._reached: dict[Partition, list[tuple[int, int]]] = {}

    def read(self, partition: Partition, position: int, epoch: int | None) -> None:
        if epoch is None or epoch < 0:
            return
        known = self._reached.setdefault(partition, [])
        if known and known[-1][1] == epoch:
            known.pop()
        known.append((position, epoch))

    def at(self, partition: Partition, offset: int) -> int | None:
        """A newer epoch than the record's own is safe, an older one would look like a truncated log."""
        known = self._reached.get(partition)
        if not known:
            return None
        return known[min(bisect_left(known, (offset, -1)), len(known) - 1)][1]

    def place(self, partition: Partition, offset: int) -> TopicPartition:
        """As librdkafka wants it, which compares the log with the epoch where it can."""
        epoch = self.at(partition, offset)
        if epoch is None:
            return TopicPartition(partition.topic.name, partition.index, offset)
        return TopicPartition(partition.topic.name, partition.index, offset, leader_epoch=epoch)

    def forget(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._reached.pop(partition, None)


class _Sent:
    """One commit on its way. ``answered`` None: it was told already."""

    __slots__ = ("answered", "offsets")

    def __init__(self, offsets: Mapping[Partition, int], answered: Answered) -> None:
        self.offsets = offsets
        self.answered: Answered | None = answered


class Commits:
    """Set ``handle`` before anything is committed; ``on_commit`` is for its configuration."""

    handle: Consumer

    def __init__(self, name: str, weather: Weather) -> None:
        self._name, self._weather = name, weather
        self.epochs = Epochs()
        self._waiting: deque[_Sent] = deque()
        self._sent: deque[_Sent] = deque()
        self._refused: deque[tuple[_Sent, BrokerError]] = deque()

    def start(self, offsets: Mapping[Partition, int], answered: Answered) -> None:
        self._waiting.append(_Sent(dict(offsets), answered))
        self._send()

    def refuse(self, error: BrokerError, answered: Answered) -> None:
        """Answer with this, when answers are told."""
        self._refused.append((_Sent({}, answered), error))

    @property
    def are_open(self) -> bool:
        """Whether anybody waits for an answer."""
        return bool(self._waiting or self._refused) or any(sent.answered is not None for sent in self._sent)

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Librdkafka's answer, from within poll: those that were sent are answered in turn."""
        if not self._sent:
            return
        sent = self._sent.popleft()
        wrong = error or next((each.error for each in partitions if each.error is not None), None)
        self._tell(sent, None if wrong is None else self._sorted(sent, wrong))
        self._send()

    def serve(self) -> None:
        """Tell what could not even be sent."""
        while self._refused:
            sent, error = self._refused.popleft()
            self._tell(sent, error)
        self._send()

    def look(self, asker: Asker, deadline: Deadline) -> None:
        """Without polling: ask the broker whether it has what was sent, until it has, refused it, or the time is up."""
        self.serve()
        doubt = Deadline.after(SYSTEM_CLOCK, _DOUBT)
        while self.are_open and not deadline.expired:
            sent = next((sent for sent in self._sent if sent.answered is not None), None)
            is_there = None if sent is None else self._is_there(asker, sent, deadline)
            if sent is None or (is_there is False and doubt.expired):
                return
            if is_there:
                self._tell(sent, None)
                self._send()
            else:
                deadline.pause(_LOOK_AGAIN)
            if is_there is not False:
                doubt = Deadline.after(SYSTEM_CLOCK, _DOUBT)

    def drop(self) -> None:
        """Nobody wants to know any more."""
        self._waiting.clear()
        self._refused.clear()
        for sent in self._sent:
            sent.answered = None

    def _send(self) -> None:
        while self._waiting and all(sent.answered is None for sent in self._sent):
            sent = self._waiting.popleft()
            try:
                self.handle.commit(offsets=[self.epochs.place(*each) for each in sorted(sent.offsets.items())])
            except (KafkaException, RuntimeError) as failure:
                self._refused.append((sent, self._sorted(sent, error_of(failure))))
            else:
                self._sent.append(sent)

    def _is_there(self, asker: Asker, sent: _Sent, deadline: Deadline) -> bool | None:
        """None: the broker did not answer."""
        seconds = min(_LONGEST_LOOK, deadline.remaining() or 0.0)
        try:
            found = asker.handle.committed(theirs(sent.offsets), timeout=seconds)
        except KafkaException:
            self._weather.not_answered(asker.handle)
            return None
        offsets = [sent.offsets[partition] for partition in sorted(sent.offsets)]
        return [each.offset for each in found] == offsets

    def _tell(self, sent: _Sent, error: BrokerError | None) -> None:
        answered, sent.answered = sent.answered, None
        if answered is not None:
            answered(error)

    def _sorted(self, sent: _Sent, error: KafkaError) -> BrokerError:
        doing = f"committing {named(sent.offsets)}"
        if error.code() == KafkaError._FATAL:  # noqa: SLF001  # librdkafka's own errors are named so
            return Fenced(f"{doing}: this member can commit nothing any more: {error.str()}")
        found = sorted_error(error, doing, self._name)
        return Outage(str(found)) if self._weather.is_away and isinstance(found, BrokerUnreachable) else found
