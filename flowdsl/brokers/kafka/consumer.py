"""A reader of Kafka: a member of a group, or by itself.

Every read serves rebalances and answers of commits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from re import Pattern

from confluent_kafka import Consumer, KafkaException

from flowdsl.brokers.kafka.alone import Alone
from flowdsl.brokers.kafka.asking import IN_TURN, Asker
from flowdsl.brokers.kafka.assignment import Assignment
from flowdsl.brokers.kafka.closing import within
from flowdsl.brokers.kafka.commits import Commits
from flowdsl.brokers.kafka.errors import error_of, sorted_error
from flowdsl.brokers.kafka.group import Group
from flowdsl.brokers.kafka.places import Places, theirs
from flowdsl.brokers.kafka.reading import Reading
from flowdsl.brokers.kafka.records import KafkaRecords
from flowdsl.brokers.kafka.supply import Supply
from flowdsl.brokers.kafka.topics import Beginning, meant, partitions_in
from flowdsl.brokers.kafka.trouble import Trouble
from flowdsl.brokers.kafka.watching import Watch
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.brokers.protocols import LARGEST_READ, Listener, OnGap, Start, Topics
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerError
from flowdsl.types import BrokerValue, KafkaPayload, Partition

logger = logging.getLogger("flowdsl")


class KafkaConsumer:
    """Implements ``Consumer``.

    ``watch``: what notices topics that come, go, or are made anew. ``end``: closes the handle.
    """

    largest_read = LARGEST_READ

    def __init__(
        self,
        handle: Consumer,
        *,
        end: Callable[[Consumer], None],
        name: str,
        weather: Weather,
        commits: Commits,
        watch: Watch,
        in_group: bool,
        whole: bool,
        start: Start,
        on_gap: OnGap,
        poll_interval: float,
        values_only: bool,
    ) -> None:
        self._handle, self._end, self._name, self._weather = handle, end, name, weather
        self._commits, self._watch = commits, watch
        self._start: Start = start
        self._asker = Asker(handle, name, weather, lambda: self._supply.serve(0.0), self._is_called)
        self._assignment = Assignment(handle, commits.epochs, whole=whole)
        self._trouble = Trouble(self._asker, self._assignment, weather, on_gap, in_group=in_group)
        self._topics: Topics = ()
        self._membership: Group | Alone | None = None
        self._supply = Supply(handle, Places())
        self._reading = Reading(self._supply, self._assignment, self._trouble, weather, values_only=values_only)
        self._closed = False
        self.poll_interval = poll_interval
        self.commits = in_group
        self.commits_start = True

    # -- the subscription -----------------------------------------------------------------------------------------

    def subscribe(self, topics: Topics, listener: Listener) -> None:
        self._check_open()
        found = meant(topics, self._asker)
        if not found and isinstance(topics, Pattern):
            logger.warning("no topic of %s matches the pattern %r yet; waiting for one", self._name, topics.pattern)
        self._topics = topics
        if self.commits:
            partitions = partitions_in(found)
            beginning = Beginning.of(topics, partitions, self._asker.committed(partitions))
            self._membership = Group(
                self._handle,
                self._assignment,
                self._commits,
                self._asker,
                listener,
                self._start,
                beginning,
                commits_start=self.commits_start,
            )
        else:
            self._membership = Alone(self._assignment, self._asker, listener, self._start)
        self._membership.read(found)
        self._watch.begin(topics, found, is_alone=not self.commits)

    def _current(self) -> Group | Alone:
        self._check_open()
        if self._membership is None:
            msg = "the consumer has no subscription: call subscribe first"
            raise BrokerError(msg)
        return self._membership

    def _check_open(self) -> None:
        if self._closed:
            msg = f"this consumer of {self._name} was closed and cannot be used any more"
            raise BrokerError(msg)

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, limit: int, timeout: float) -> KafkaRecords:
        membership = self._current()
        try:
            changed = self._watch.look(self._asker, self._assignment.positions)
            if changed is not None:
                membership.read(changed)
            membership.serve()
            self._commits.serve()
            self._weather.serve(self._handle)
            self._supply.drop(self._assignment.check())
            return self._reading.read(membership, self._topics, limit, timeout)
        except KafkaException as failure:  # fatal errors are raised instead of told
            raise sorted_error(error_of(failure), "reading", self._name) from None

    def poll(self, timeout: float = 0.0) -> BrokerValue[KafkaPayload] | None:
        records = self.read(1, timeout)
        if not len(records):
            return None
        record = records.record(0)
        payload = KafkaPayload(record.key, record.value, record.headers)
        return BrokerValue(payload, records.place(0)[0], record.offset, record.timestamp)

    def pause(self, partitions: Collection[Partition]) -> None:
        dropped = self._supply.drop(partitions)
        first = {self._supply.partition_of(message): message.offset() or 0 for message in reversed(dropped)}
        self._assignment.move(first)  # it is read again once they are resumed
        self._assignment.pause(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._assignment.resume(partitions)

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        mine = {p: offset for p, offset in offsets.items() if p in self._assignment.positions}
        self._supply.drop(mine)
        self._assignment.move(mine)

    # -- committing -----------------------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[Partition, int], answered: Callable[[BrokerError | None], None]) -> None:
        self._check_open()
        if self.commits:
            self._commits.start(offsets, answered)
        else:
            self._commits.refuse(BrokerError("there is no group to commit for: give the source a group_id"), answered)

    def settle(self, timeout: float) -> None:
        deadline = Deadline.after(SYSTEM_CLOCK, timeout)
        self._current()
        if self._is_called():
            self._commits.look(self._asker, deadline)
            return
        self._commits.serve()
        if self._commits.are_open:
            coming = self._assignment.unpaused
            self.pause(coming)  # nobody reads now: what others of the cluster sent would pile up here
            self._wait_for_answers(deadline)
            self.resume(coming)

    def _wait_for_answers(self, deadline: Deadline) -> None:
        while self._commits.are_open and not deadline.expired:
            try:
                self._supply.serve(deadline.remaining() or 0.0)
            except KafkaException:  # a fatal error, which the next read tells: there will be no answer
                return
            self._commits.serve()
            self._weather.serve(self._handle)

    def _is_called(self) -> bool:
        return self._membership is not None and self._membership.is_called

    def confirm(self, timeout: float) -> None:
        self._watch.confirm(self._assignment.positions, timeout)

    # -- what there is --------------------------------------------------------------------------------------------

    def ends(self, partitions: Collection[Partition] | None = None) -> dict[Partition, int]:
        self._current()
        if partitions is not None:
            return self._asker.ends(partitions, IN_TURN)
        return self._asker.ends(partitions_in(meant(self._topics, self._asker)))

    def offsets_at(self, when: datetime) -> dict[Partition, int]:
        self._current()
        return self._asker.at(partitions_in(meant(self._topics, self._asker)), when)

    def known_ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Librdkafka notes them with each answer to a fetch: none before the first, and none where that is an error."""
        marks = [self._handle.get_watermark_offsets(place, cached=True) for place in theirs(partitions)]
        return {partition: end for partition, (_, end) in zip(sorted(partitions), marks, strict=True) if end >= 0}

    @property
    def is_beginning(self) -> bool:
        return self._membership is not None and bool(self._membership.waiting or self._assignment.restarts)

    @property
    def exhausted(self) -> bool:
        return False

    def close(self, timeout: float) -> None:
        """Librdkafka's close may hang for as long as the broker does, so it is not waited for longer than this."""
        if self._closed:
            return
        self._closed = True
        if self._membership is not None:
            self._membership.is_closed = True
        self._commits.drop()
        self._weather.closes()
        if not within(timeout, partial(self._end, self._handle)) and timeout > 0:
            logger.warning("%s did not let the consumer go in %g s; it is left behind", self._name, timeout)
