"""One consumer as a member of a group: what it is told when partitions come and go, and where it begins.

librdkafka calls these from within poll and consume. They never raise, since what was collected would be thrown away:
they store what went wrong, and the consumer raises it. They never poll, since that aborts the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

from confluent_kafka import Consumer, TopicPartition

from flowdsl.brokers.kafka.asking import IN_TURN, Asker
from flowdsl.brokers.kafka.assignment import Assignment
from flowdsl.brokers.kafka.commits import Commits
from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.kafka.topics import Beginning
from flowdsl.brokers.protocols import Listener, Outage, Rebalancing, Start
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerError, BrokerUnreachable, Fenced, NotAuthorized
from flowdsl.types import Partition

logger = logging.getLogger("flowdsl")

AGAIN = 0.2
"""Seconds until what failed while partitions arrived is tried again."""
IN_CALLBACK = 3.0
"""Seconds in which the broker must say what is committed during a rebalance."""


class Group:
    """``commits_start``: whether the start is committed before anything is delivered."""

    def __init__(
        self,
        handle: Consumer,
        assignment: Assignment,
        commits: Commits,
        asker: Asker,
        listener: Listener,
        start: Start,
        beginning: Beginning,
        *,
        commits_start: bool,
    ) -> None:
        self._handle = handle
        self._assignment, self._commits, self._asker, self._listener = assignment, commits, asker, listener
        self._start: Start = start
        self._beginning = beginning
        self._commits_start = commits_start
        self._places = Places()
        self.unresolved: set[Partition] = set()
        """Assigned without anybody knowing where: what is read of them means nothing."""
        self._unborn: dict[Partition, int] = {}
        self._born: dict[Partition, int] = {}
        self._is_beginning = False
        self._again = Deadline(SYSTEM_CLOCK, 0.0)
        self._warned = False
        self.is_called = False
        """Whether a callback is running: nothing may be polled then."""
        self.is_closed = False
        self.error: BaseException | None = None

    def read(self, topics: Mapping[str, int]) -> None:
        """Subscribe to these. Members join, and partitions come, while the consumer is read."""
        if topics:
            self._handle.subscribe(
                list(topics), on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost
            )
        else:
            self._handle.unsubscribe()

    # -- called by librdkafka -------------------------------------------------------------------------------------

    def on_assign(self, _: Consumer, given: list[TopicPartition]) -> None:
        self._guarded(self._take, given)

    def on_revoke(self, _: Consumer, given: list[TopicPartition]) -> None:
        self._guarded(lambda mine: self._give_up(mine, self._listener.revoked), given)

    def on_lost(self, _: Consumer, given: list[TopicPartition]) -> None:
        self._guarded(lambda mine: self._give_up(mine, self._listener.lost), given)

    def _guarded(self, act: Callable[[list[Partition]], None], given: list[TopicPartition]) -> None:
        if self.is_closed:
            return
        self.is_called = True
        try:
            act([self._places.of(each) for each in given])
        except BaseException as error:  # noqa: BLE001  # raised by the consumer, once librdkafka has returned
            self.error = self.error or error
        finally:
            self.is_called = False

    # -- what comes and goes --------------------------------------------------------------------------------------

    def _take(self, partitions: list[Partition]) -> None:
        """Assign with explicit offsets. Partitions whose start is not committed yet wait, paused."""
        try:
            offsets, begun = self._resolve(partitions, IN_CALLBACK)
        except BrokerUnreachable:  # it went away just now: where to read is asked again in the loop
            self._assignment.add(dict.fromkeys(partitions, 0))
            self._assignment.pause(partitions)
            self.unresolved.update(partitions)
            return
        self._assignment.add(offsets)
        self._arrive(offsets, begun)
        if not self._assignment.positions:
            self._listener.assigned({})  # a member that keeps what it has is called with nothing as well

    def _resolve(
        self, partitions: Collection[Partition], seconds: float
    ) -> tuple[dict[Partition, int], set[Partition]]:
        """Where each is to be read, and of which of them the group has no offset."""
        answers = self._asker.commits(partitions, seconds)
        committed = {self._places.of(answer): answer.offset for answer in answers}
        for answer in answers:
            self._commits.epochs.read(self._places.of(answer), answer.offset, answer.leader_epoch)
        fresh = [partition for partition in partitions if partition not in committed]
        late = [partition for partition in fresh if self._beginning.is_late(partition)]
        first = [partition for partition in fresh if partition not in late]
        begun = {**self._asker.starts(late, "earliest"), **self._asker.starts(first, self._start)}
        return {**committed, **begun}, set(begun)

    def _arrive(self, offsets: Mapping[Partition, int], begun: Collection[Partition]) -> None:
        waiting = {partition: offsets[partition] for partition in begun} if self._commits_start else {}
        self._assignment.pause(waiting)
        self._unborn.update(waiting)
        self._tell({partition: offset for partition, offset in offsets.items() if partition not in waiting})

    def _tell(self, offsets: Mapping[Partition, int]) -> None:
        if offsets:
            self._assignment.resume(offsets)
            self._listener.assigned({partition: offsets[partition] for partition in sorted(offsets)})

    def _give_up(self, partitions: list[Partition], tell: Callable[[Collection[Partition]], None]) -> None:
        known = [p for p in partitions if p not in self.waiting]
        for partition in partitions:
            self.unresolved.discard(partition)
            self._unborn.pop(partition, None)
            self._born.pop(partition, None)
        try:
            if known:
                tell(sorted(known))
        finally:
            self._assignment.remove(partitions)

    # -- the start ------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> set[Partition]:
        """Assigned, and not to be read before their start is known and committed."""
        return {*self.unresolved, *self._unborn, *self._born}

    def serve(self) -> None:
        """In the loop: commit where the group begins before any record is delivered, and tell of what has begun."""
        if self._assignment.restarts:
            restarts = self._assignment.begin_again(self._end)
            self._arrive(restarts, restarts)
        born, self._born = self._born, {}
        self._tell(born)
        if self._is_beginning or not (self.unresolved or self._unborn) or not self._again.expired:
            return
        if self.unresolved:
            self._resolve_again()
        if self._unborn:
            self._is_beginning = True
            starts = dict(self._unborn)
            self._commits.start(starts, lambda error: self._begun(starts, error))

    def _end(self, partitions: Collection[Partition]) -> None:
        """What is read of these comes to its end as in a callback: nothing is polled, so nothing else changes hands."""
        self.is_called = True
        try:
            self._listener.revoked(partitions)
        finally:
            self.is_called = False

    def _resolve_again(self) -> None:
        try:
            offsets, begun = self._resolve(sorted(self.unresolved), IN_TURN)
        except BrokerUnreachable:
            self._again = Deadline.after(SYSTEM_CLOCK, AGAIN)
            return
        offsets = {p: offset for p, offset in offsets.items() if p in self.unresolved}  # others went while it was asked
        self.unresolved.difference_update(offsets)
        self._assignment.move(offsets)
        self._arrive(offsets, begun & offsets.keys())

    def _begun(self, starts: dict[Partition, int], error: BrokerError | None) -> None:
        """The answer to that commit: told from within poll, where nothing more than to note it is allowed."""
        self._is_beginning = False
        if error is None:
            self._born.update({p: offset for p, offset in starts.items() if self._unborn.get(p) == offset})
            for partition in self._born:
                self._unborn.pop(partition, None)
            return
        self._again = Deadline.after(SYSTEM_CLOCK, AGAIN)
        if isinstance(error, NotAuthorized):
            self.error = self.error or error
        elif not self._warned and not isinstance(error, Fenced | Rebalancing | Outage):
            self._warned = True
            logger.warning("where the group begins could not be committed, and will be again: %s", error)
