"""Which topics a consumer reads, now and later: named ones that must be there, or those that a pattern matches.

Patterns are matched here and not by librdkafka, whose expressions are not those of ``re``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, wait
from re import Pattern
from typing import Any

from confluent_kafka import KafkaException, TopicCollection, Uuid
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from flowdsl.brokers.kafka.asking import IN_TURN, Asker
from flowdsl.brokers.kafka.bootstrap import Bootstrap
from flowdsl.brokers.kafka.errors import error_of, is_away, is_unknown
from flowdsl.brokers.naming import made_anew, topic_not_found, topics_meant
from flowdsl.brokers.protocols import Topics
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.types import Partition, Topic


def meant(topics: Topics, asker: Asker, seconds: float | None = None) -> dict[str, int]:
    """The topics that are meant now, with their number of partitions. Raises TopicNotFound and NotAuthorized."""
    known = asker.topics() if seconds is None else asker.topics(seconds)
    if not isinstance(topics, Pattern):
        for name in topics:
            if name not in known:
                found = asker.partitions_of(name)  # a topic that may not be read is not in the list
                if found is None:
                    raise topic_not_found(name, known, asker.name)
                known[name] = found
    return {name: known[name] for name in topics_meant(topics, known, asker.name)}


def partitions_in(topics: Mapping[str, int]) -> list[Partition]:
    return [Partition(Topic(name), index) for name, count in topics.items() for index in range(count)]


class Beginning(Struct, frozen=True):
    """What was there when a consumer subscribed: it tells where partitions begin for which the group has no offset.

    ``begun``: the topics of which the group had offsets then.
    """

    there: frozenset[Partition]
    begun: frozenset[str]
    by_pattern: bool

    @classmethod
    def of(cls, topics: Topics, partitions: Collection[Partition], committed: Collection[Partition]) -> Beginning:
        return cls(frozenset(partitions), frozenset(p.topic.name for p in committed), isinstance(topics, Pattern))

    def is_late(self, partition: Partition) -> bool:
        """Whether it appeared after the group began, and so is read from its beginning."""
        begun = bool(self.begun) if self.by_pattern else partition.topic.name in self.begun
        return begun or partition not in self.there


NO_IDENTITY = str(Uuid(0, 0))
"""What brokers older than 2.8 say, also while they are replaced one by one."""

Describe = Callable[[list[str]], Mapping[str, "Future[Any]"]]
"""Ask for the ids of topics, without waiting."""


class Describer:
    """Implements ``Describe``. Nobody polls its handle, which tells of the broker by answers that do not come."""

    def __init__(self, handle: AdminClient, bootstrap: Bootstrap) -> None:
        self._handle: Any = handle  # its methods are typed for futures of anything
        self._bootstrap = bootstrap
        self._asked: Mapping[str, Future[Any]] = {}
        self._patience = Deadline(SYSTEM_CLOCK, 0.0)

    def __call__(self, names: list[str]) -> Mapping[str, Future[Any]]:
        if self._patience.expired and not all(map(_is_answered, self._asked.values())):
            self._bootstrap.not_answered(self._handle)
        self._patience = Deadline.after(SYSTEM_CLOCK, IN_TURN)
        try:
            self._asked = self._handle.describe_topics(TopicCollection(names))
        except KafkaException:
            self._asked = {}
        return self._asked


def _is_answered(future: Future[Any]) -> bool:
    error = future.exception() if future.done() else None
    return future.done() and (error is None or not is_away(error_of(error)))


class Identities:
    """Notices topics that were deleted and made anew while they are read: their offsets mean something else now."""

    def __init__(self, describe: Describe, name: str) -> None:
        self._describe, self._name = describe, name
        self._known: dict[str, str] = {}
        self._asked: Mapping[str, Future[Any]] = {}
        self.heard = False
        """Whether the broker had answered when it was looked last."""

    def look(self, read: set[str]) -> set[str]:
        """Compare what was asked last time, and ask again; returns those that are gone. Raises BrokerError."""
        gone = self._hear(read)
        self._asked = self._describe(sorted(read)) if read else {}
        return gone

    def confirm(self, read: set[str], seconds: float) -> None:
        """The same, once more, and wait so long for the answer."""
        self.look(read)
        wait(self._asked.values(), seconds)
        self._hear(read)

    def _hear(self, read: set[str]) -> set[str]:
        for name in self._known.keys() - read:
            del self._known[name]
        answers = {name: future for name, future in self._asked.items() if name in read and future.done()}
        self.heard = any(future.exception() is None for future in answers.values())
        gone = {name for name, future in answers.items() if self._is_gone(future)}
        for name in answers.keys() - gone:
            if answers[name].exception() is None:
                self._compare(name, str(answers[name].result().topic_id))
        return gone

    def _is_gone(self, future: Future[Any]) -> bool:
        error = future.exception()
        return error is not None and is_unknown(error_of(error))

    def _compare(self, name: str, identity: str) -> None:
        if identity != NO_IDENTITY and self._known.setdefault(name, identity) != identity:
            raise made_anew(name, self._name)
