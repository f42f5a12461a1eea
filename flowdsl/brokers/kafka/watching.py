"""Looks now and then at the topics that are read: new ones, new partitions, ones that are gone or were made anew.

Of a broker that was away it is such questions that tell that it is back, where nothing is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from re import Pattern

from flowdsl.brokers.kafka.asking import IN_TURN, Asker
from flowdsl.brokers.kafka.topics import Identities, meant
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.protocols import Topics
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerError, BrokerUnreachable
from flowdsl.types import Partition

IDENTITY_SECONDS = 5.0
"""How often a topic's identity is compared."""


class Watch:
    """``interval``: seconds between two looks at the list of topics."""

    def __init__(self, identities: Identities, weather: Weather, interval: float) -> None:
        self._identities, self._weather, self._interval = identities, weather, interval
        self._asked_while_away = False
        self._topics: Topics = ()
        self._found: Mapping[str, int] = {}
        self._lists = False
        self._next_list = self._next_identity = Deadline(SYSTEM_CLOCK, None)

    def begin(self, topics: Topics, found: Mapping[str, int], *, is_alone: bool) -> None:
        """In a group librdkafka itself notices new partitions of topics that are named."""
        self._topics, self._found = topics, found
        self._lists = is_alone or isinstance(topics, Pattern)
        self._next_list = Deadline.after(SYSTEM_CLOCK, self._interval)
        self._next_identity = Deadline.after(SYSTEM_CLOCK, 0.0)

    def look(self, asker: Asker, read: Collection[Partition]) -> Mapping[str, int] | None:
        """The topics and their numbers of partitions, if that changed. Raises TopicNotFound, or BrokerError.

        Topics that are named are looked at whether anything of them is read or not: of one that is gone the group may have
        taken the partitions away already.
        """
        if self._next_identity.expired:
            self._next_identity = Deadline.after(SYSTEM_CLOCK, IDENTITY_SECONDS)
            was_away, self._asked_while_away = self._asked_while_away, self._weather.is_away
            if self._identities.look(self._names(read)) and not isinstance(self._topics, Pattern):
                self._meant(asker)
            if was_away and self._identities.heard:
                with suppress(BrokerError):  # it may have gone again since
                    asker.topics(IN_TURN)
        if not self._lists or not self._next_list.expired:
            return None
        self._next_list = Deadline.after(SYSTEM_CLOCK, self._interval)
        found = self._meant(asker)
        if found is None or found == self._found:
            return None
        self._found = found
        return found

    def confirm(self, read: Collection[Partition], seconds: float) -> None:
        """Whether the topics are still those that were read, as far as the broker tells in time. Raises BrokerError."""
        if not self._weather.is_away:
            self._identities.confirm(self._names(read), min(seconds, IN_TURN))

    def _names(self, read: Collection[Partition]) -> set[str]:
        return {p.topic.name for p in read} if isinstance(self._topics, Pattern) else set(self._topics)

    def _meant(self, asker: Asker) -> Mapping[str, int] | None:
        try:
            return meant(self._topics, asker, IN_TURN)
        except BrokerUnreachable:
            return None
