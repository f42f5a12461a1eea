"""Questions to a broker, each with a deadline: what topics there are, where partitions begin and end, what is committed.

A handle is any consumer of librdkafka. Nothing here joins a group, makes a topic, or moves an offset.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from flowdsl.brokers.kafka.closing import within
from flowdsl.brokers.kafka.errors import (
    error_of,
    is_away,
    is_outdated,
    is_refused,
    is_unknown,
    is_unready,
    sorted_error,
)
from flowdsl.brokers.kafka.places import Places, theirs
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.outgoing import to_milliseconds
from flowdsl.brokers.protocols import Last, Start
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerUnreachable
from flowdsl.types import Partition

T = TypeVar("T")

PATIENCE = 9.0
"""Seconds in which a broker must answer: trouble at the start is reported within ten."""
IN_TURN = 1.0
"""The same in mid-run, while records wait."""
ATTEMPT = 3.0
_PAUSE = 0.1
_LATEST, _EARLIEST, _NONE = -1, -2, -1
"""What Kafka takes, and gives, in the place of a timestamp or an offset."""


class Asker:
    """One handle to ask, how the broker is called, and what is known of its reachability.

    ``serve`` polls the handle, so that it tells what went wrong: by calling back, or by an error in the place of a record.
    ``is_called``: whether it is calling back right now. It must not be polled then, nor asked for its topics: either aborts
    the process. Questions about offsets are allowed, and mind that.
    """

    def __init__(
        self,
        handle: Consumer,
        name: str,
        weather: Weather,
        serve: Callable[[], Message | None],
        is_called: Callable[[], bool],
    ) -> None:
        self.handle, self.name, self._weather = handle, name, weather
        self._serve, self._is_called = serve, is_called
        self._places = Places()

    # -- topics ---------------------------------------------------------------------------------------------------

    def topics(self, seconds: float = PATIENCE) -> dict[str, int]:
        """Topics with their number of partitions, sorted, without Kafka's own."""
        known = self._ask("listing the topics", lambda timeout: self.handle.list_topics(timeout=timeout), seconds)
        usable = {name: len(topic.partitions) for name, topic in known.topics.items() if topic.error is None}
        return {name: usable[name] for name in sorted(usable) if not name.startswith("__")}

    def partitions_of(self, topic: str, seconds: float = PATIENCE) -> int | None:
        """How many partitions a topic has; None if there is no such topic. Raises NotAuthorized."""
        doing = f"looking for topic {topic!r}"
        known = self._ask(doing, lambda timeout: self.handle.list_topics(topic, timeout=timeout), seconds)
        found = known.topics.get(topic)
        if found is None or (found.error is not None and is_unknown(found.error)):
            return None
        if found.error is not None and not is_away(found.error):
            raise sorted_error(found.error, doing, self.name)
        return len(found.partitions)

    # -- offsets --------------------------------------------------------------------------------------------------

    def beginnings(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return self._offsets(partitions, _EARLIEST)

    def ends(self, partitions: Collection[Partition], seconds: float = PATIENCE) -> dict[Partition, int]:
        """As readers see them: with read_committed before transactions that are open."""
        return self._offsets(partitions, _LATEST, seconds)

    def at(self, partitions: Collection[Partition], when: datetime) -> dict[Partition, int]:
        """The first offset whose timestamp is not before ``when``; the end where there is none."""
        found = self._offsets(partitions, max(0, to_milliseconds(when)))
        missing = [partition for partition, offset in found.items() if offset == _NONE]
        return {**found, **self.ends(missing)}

    def starts(self, partitions: Collection[Partition], start: Start) -> dict[Partition, int]:
        """The offsets that ``start`` means now."""
        if start == "earliest":
            return self.beginnings(partitions)
        if isinstance(start, datetime):
            return self.at(partitions, start)
        ends = self.ends(partitions)
        if not isinstance(start, Last):
            return ends
        beginnings = self.beginnings(partitions)
        return {partition: max(beginnings[partition], end - start.n) for partition, end in ends.items()}

    def committed(self, partitions: Collection[Partition], seconds: float = PATIENCE) -> dict[Partition, int]:
        """The offsets of the handle's group; partitions without one are absent."""
        return {self._places.of(answer): answer.offset for answer in self.commits(partitions, seconds)}

    def commits(self, partitions: Collection[Partition], seconds: float = PATIENCE) -> list[TopicPartition]:
        """The same, with the epochs that were committed with them."""
        if not partitions:
            return []
        wanted = theirs(partitions)
        doing = "asking for committed offsets"
        answers = self._ask(doing, lambda timeout: _whole(self.handle.committed(wanted, timeout=timeout)), seconds)
        return [answer for answer in answers if answer.offset >= 0]

    def _offsets(
        self, partitions: Collection[Partition], moment: int, seconds: float = PATIENCE
    ) -> dict[Partition, int]:
        if not partitions:
            return {}
        wanted = [TopicPartition(p.topic.name, p.index, moment) for p in sorted(partitions)]
        doing = "asking where partitions begin and end"
        answers = self._ask(
            doing, lambda timeout: _whole(self.handle.offsets_for_times(wanted, timeout=timeout)), seconds
        )
        return {self._places.of(answer): answer.offset for answer in answers}

    def close(self, seconds: float) -> None:
        """Let go of the handle, and wait so long for that."""
        self._weather.closes()
        within(seconds, self.handle.close)

    # -- asking ---------------------------------------------------------------------------------------------------

    def _ask(self, doing: str, question: Callable[[float], T], seconds: float = PATIENCE) -> T:
        """Ask until there is an answer. Raises BrokerUnreachable in time, and at once what waiting does not mend."""
        deadline = Deadline.after(SYSTEM_CLOCK, seconds)
        while True:
            try:
                answer = question(min(ATTEMPT, max(_PAUSE, deadline.remaining() or 0.0)))
            except KafkaException as failure:
                error = error_of(failure)
            else:
                self._weather.came_back()
                return answer
            if not self._is_called():
                self._hear(doing)
            elif is_outdated(error):
                msg = f"{doing}: {error.str()}; it is asked again when librdkafka has returned"
                raise BrokerUnreachable(msg)
            refusal = self._weather.refusal()
            if refusal is not None:
                raise sorted_error(refusal, doing, self.name)
            if not (is_away(error) or is_outdated(error)) or deadline.expired:
                raise sorted_error(self._weather.reason(error), doing, self.name)
            if is_outdated(error):
                self._learn()
            elif not is_unready(error):
                self._weather.not_answered(self.handle)
            deadline.pause(_PAUSE)

    def _learn(self) -> None:
        """Have librdkafka ask for partitions and leaders anew: by itself it may do so much later."""
        with suppress(KafkaException):  # the question that follows tells what is wrong
            self.handle.list_topics(timeout=ATTEMPT)

    def _hear(self, doing: str) -> None:
        """What librdkafka has to say besides an answer that did not come."""
        try:
            message = self._serve()
        except KafkaException as failure:  # fatal errors are raised instead of told
            raise sorted_error(error_of(failure), doing, self.name) from None
        told = None if message is None else message.error()
        if told is not None and is_refused(told):
            self._weather.refused(told)


def _whole(answers: list[TopicPartition]) -> list[TopicPartition]:
    """The answers, if none of them is an error."""
    for answer in answers:
        if answer.error is not None:
            raise KafkaException(answer.error)
    return answers
