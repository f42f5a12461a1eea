"""What to do about errors that come in the place of records."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, Message

from flowdsl.brokers.kafka.asking import Asker
from flowdsl.brokers.kafka.assignment import Assignment
from flowdsl.brokers.kafka.errors import is_away, is_expelled, is_gap, is_rebalancing, is_unknown, sorted_error
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.naming import topic_not_found
from flowdsl.brokers.protocols import OnGap, Topics
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerUnreachable, OffsetOutOfRange
from flowdsl.types import Partition, Topic

if TYPE_CHECKING:
    from flowdsl.brokers.kafka.alone import Alone
    from flowdsl.brokers.kafka.group import Group

DOUBT_SECONDS, DOUBT_LASTS = 2.0, 60.0
"""How long one waits to ask again whether a log was cut, and how long the first answer counts."""

logger = logging.getLogger("flowdsl")


class Trouble:
    """Raises what ends a run, mends what can be mended, passes over what librdkafka mends by itself."""

    def __init__(
        self, asker: Asker, assignment: Assignment, weather: Weather, on_gap: OnGap, *, in_group: bool
    ) -> None:
        self._in_group = in_group
        self._asker, self._assignment, self._weather = asker, assignment, weather
        self._on_gap: OnGap = on_gap
        self._doubted: dict[Partition, Deadline] = {}

    def raise_stored(self, membership: Group | Alone) -> None:
        """What callbacks noted while librdkafka was reading."""
        stored, membership.error = membership.error, None
        raised, self._weather.raised = self._weather.raised, None
        if stored is not None or raised is not None:
            raise stored or raised or AssertionError
        if self._weather.fatal is not None:
            raise sorted_error(self._weather.fatal, "reading", self._asker.name)

    def handle(self, message: Message, unresolved: Collection[Partition], topics: Topics) -> None:
        """Deal with one error that was read. ``unresolved``: read from where nobody meant them to be."""
        error = message.error()
        alone = not self._in_group and error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        if error is None or alone or is_away(error) or is_rebalancing(error) or is_expelled(error):
            return  # librdkafka goes on by itself; what is lost is told by a callback
        name, index = message.topic(), message.partition()
        if is_gap(error) and name is not None and index is not None:
            partition = Partition(Topic(name), index)
            if partition not in unresolved:
                self._gap(partition, message.offset(), error)
        elif is_unknown(error) and name is not None:
            self._unknown(name, topics)
        elif error.code() == KafkaError._MAX_POLL_EXCEEDED:  # noqa: SLF001  # librdkafka's own errors are named so
            logger.warning("the group took this member for dead, since it did not read for so long; it joins again")
        elif not error.retriable():
            raise sorted_error(error, f"reading {name}" if name else "reading", self._asker.name)

    def _gap(self, partition: Partition, offset: int | None, error: KafkaError) -> None:
        position = self._assignment.positions.get(partition)
        if position is None:
            return
        position = position if offset is None or offset < 0 else offset
        try:
            what, beginning = self._found(partition, position, error)
        except BrokerUnreachable:
            what, beginning = "", position
        if partition not in self._assignment.positions:
            return  # these questions poll: it is somebody else's now
        if not what:
            self._assignment.check_again(partition, position)
            return
        if self._on_gap == "fail":
            msg = f'{what}. To go on with what is there from offset {beginning}, say on_gap="earliest".'
            raise OffsetOutOfRange(msg)
        logger.warning("%s; going on from offset %d", what, beginning)
        if position < beginning:
            self._assignment.skip(partition, beginning)
        else:
            self._assignment.restarts[partition] = beginning

    def _found(self, partition: Partition, position: int, error: KafkaError) -> tuple[str, int]:
        """What is wrong, and where there is something to read. Nothing is told of what has to be asked once more."""
        beginning = self._asker.beginnings([partition])[partition]
        if position < beginning:
            gone = f"{beginning - position} records of {partition} are gone: offsets {position} to {beginning - 1}"
            return gone, beginning
        end = self._asker.ends([partition])[partition]
        where = f"ends at offset {end} and was to be read from {position}"
        if end >= position:
            doubted = self._doubted.pop(partition, None)
            if doubted is None or doubted.expired:  # a leader that has just been replaced does not know the newer epoch
                self._doubted[partition] = Deadline.after(SYSTEM_CLOCK, DOUBT_LASTS)
                SYSTEM_CLOCK.sleep(DOUBT_SECONDS)
                self._asker.partitions_of(partition.topic.name)  # librdkafka hears who leads it now
                return "", beginning
            where = f"was cut below offset {position}, from where it was to be read, and written anew"
        reason = f"records were lost, or the topic was deleted and made anew ({error.str()})"
        return f"{partition} {where}: {reason}", beginning

    def _unknown(self, name: str, topics: Topics) -> None:
        """A topic may be unknown for a moment after it was made, or while brokers come and go."""
        if name not in topics if isinstance(topics, tuple | list) else True:
            return
        try:
            if self._asker.partitions_of(name) is None:
                raise topic_not_found(name, self._asker.topics(), self._asker.name)
        except BrokerUnreachable:
            return
