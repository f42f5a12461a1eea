"""A reader of the embedded broker: a member of a group, or by itself.

Everything happens inside ``read``: rebalances, answers to commits, and the records. A commit takes effect at once; its
answer waits for ``read`` or ``settle``, as it would on a network.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from re import Pattern

from flowdsl.brokers.local.assignment import Alone, InGroup, Subscription
from flowdsl.brokers.local.group import Group
from flowdsl.brokers.local.log import Log
from flowdsl.brokers.local.records import LocalRecords, Span
from flowdsl.brokers.local.start import go_on
from flowdsl.brokers.local.storage import Storage
from flowdsl.brokers.local.waiter import Waiter
from flowdsl.brokers.naming import made_anew
from flowdsl.brokers.protocols import LARGEST_READ, Listener, OnGap, Start, Topics
from flowdsl.clock import Clock, Deadline
from flowdsl.errors import BrokerError
from flowdsl.types import BrokerValue, KafkaPayload, Partition

logger = logging.getLogger("flowdsl")

Answer = Callable[[], None]


class LocalConsumer:
    """Implements ``Consumer``."""

    largest_read = LARGEST_READ

    def __init__(
        self,
        storage: Storage,
        group: Group | None,
        *,
        clock: Clock,
        waiter: Waiter,
        start: Start,
        on_gap: OnGap,
        poll_interval: float,
        eager: bool,
    ) -> None:
        self._storage, self._group, self._clock, self._waiter = storage, group, clock, waiter
        self._start: Start = start
        self._on_gap: OnGap = on_gap
        self._eager = eager
        self._subscription: Subscription | None = None
        self._assignment: Alone | InGroup | None = None
        self._logs: dict[Partition, Log] = {}
        """The log of each partition that is being read: a topic that is made anew has others."""
        self._restarts: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._answers: deque[Answer] = deque()
        self._turn = 0
        self._closed = False
        self.poll_interval = poll_interval
        self.commits = group is not None
        self.commits_start = True

    # -- the assignment -------------------------------------------------------------------------------------------

    def subscribe(self, topics: Topics, listener: Listener) -> None:
        self._check_open()
        subscription = Subscription(self._storage, topics)
        if not subscription.names() and isinstance(topics, Pattern):
            logger.warning(
                "no topic of %s matches the pattern %r yet; waiting for one", self._storage.name, topics.pattern
            )
        if self._assignment is not None:
            self._assignment.leave()
        self._subscription = subscription
        self._assignment = self._assigned_by(subscription, listener)

    def _assigned_by(self, subscription: Subscription, listener: Listener) -> Alone | InGroup:
        if self._group is None:
            return Alone(self._storage, subscription, listener, self._start)
        return InGroup(
            self._storage,
            subscription,
            listener,
            self._start,
            self._group,
            poll_interval=self.poll_interval,
            eager=self._eager,
            commits_start=self.commits_start,
        )

    @property
    def member_id(self) -> int | None:
        """What the group calls this member; None while it is not one."""
        return self._assignment.member_id if isinstance(self._assignment, InGroup) else None

    def _current(self) -> Alone | InGroup:
        self._check_open()
        if self._assignment is None:
            msg = "the consumer has no subscription: call subscribe first"
            raise BrokerError(msg)
        return self._assignment

    def _check_open(self) -> None:
        self._storage.check_open()
        if self._closed:
            msg = f"this consumer of {self._storage.name} was closed and cannot be used any more"
            raise BrokerError(msg)

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, limit: int, timeout: float) -> LocalRecords:
        deadline = Deadline.after(self._clock, timeout)
        while True:
            token = self._waiter.token()
            assignment = self._current()
            assignment.serve()
            self._serve_answers()
            restarts, self._restarts = self._restarts, {}
            if mine := {p: offset for p, offset in restarts.items() if p in assignment.positions}:
                assignment.begin_again(mine)
            records = self._fetch(assignment.positions, limit)
            if len(records) or records.positions or deadline.expired or not self._waiter.wait(token, deadline):
                return records

    def _fetch(self, positions: dict[Partition, int], limit: int) -> LocalRecords:
        """Records from the assigned partitions, beginning with another one each time so that none starves."""
        spans: list[Span] = []
        moved: dict[Partition, int] = {}
        if self._logs.keys() != positions.keys():
            self._logs = {partition: log for partition, log in self._logs.items() if partition in positions}
        with self._storage.lock:
            for partition, log in self._readable(positions):
                if self._logs.setdefault(partition, log) is not log:
                    raise made_anew(partition.topic.name, self._storage.name)
                position = go_on(partition, log, positions[partition], self._on_gap)
                if position < positions[partition]:
                    self._restarts[partition] = position
                    continue
                start = log.index(position)
                stop = min(start + limit, len(log))
                after = log.end if stop == len(log) else log.columns.offsets[stop - 1] + 1 if stop > start else position
                if stop > start:
                    spans.append(Span(partition, log.columns, start, stop))
                    limit -= stop - start
                if after != positions[partition]:
                    moved[partition] = after
        positions.update(moved)
        return LocalRecords(spans, moved)

    def _readable(self, positions: Mapping[Partition, int]) -> list[tuple[Partition, Log]]:
        order = sorted(positions)
        self._turn += 1
        at = self._turn % len(order) if order else 0
        readable = [(partition, self._storage.find(partition)) for partition in order[at:] + order[:at]]
        return [(partition, log) for partition, log in readable if log is not None and partition not in self._paused]

    def poll(self, timeout: float = 0.0) -> BrokerValue[KafkaPayload] | None:
        records = self.read(1, timeout)
        if not len(records):
            return None
        partition, _ = records.place(0)
        record = records.record(0)
        payload = KafkaPayload(record.key, record.value, record.headers)
        return BrokerValue(payload, partition, record.offset, record.timestamp)

    def pause(self, partitions: Collection[Partition]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._paused.difference_update(partitions)

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        positions = self._current().positions
        positions.update({partition: offset for partition, offset in offsets.items() if partition in positions})

    # -- committing -----------------------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[Partition, int], answered: Callable[[BrokerError | None], None]) -> None:
        error = self._current().commit(dict(offsets))
        self._answers.append(lambda: answered(error))

    def settle(self, timeout: float) -> None:  # noqa: ARG002  # every commit is decided when it is made
        self._serve_answers()

    def _serve_answers(self) -> None:
        while self._answers:
            self._answers.popleft()()

    def confirm(self, timeout: float) -> None:  # noqa: ARG002  # it is known at once
        with self._storage.lock:
            for partition, log in self._logs.items():
                if self._storage.find(partition) not in {log, None}:
                    raise made_anew(partition.topic.name, self._storage.name)

    # -- what there is --------------------------------------------------------------------------------------------

    def ends(self, partitions: Collection[Partition] | None = None) -> dict[Partition, int]:
        return self._ask(lambda log: log.end) if partitions is None else self.known_ends(partitions)

    def offsets_at(self, when: datetime) -> dict[Partition, int]:
        return self._ask(lambda log: log.at(when))

    def _ask(self, question: Callable[[Log], int]) -> dict[Partition, int]:
        self._current()
        with self._storage.lock:
            names = [] if self._subscription is None else self._subscription.names()
            return {partition: question(log) for partition, log in self._storage.partitions(names).items()}

    def known_ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        with self._storage.lock:
            logs = {partition: self._storage.find(partition) for partition in partitions}
            return {partition: log.end for partition, log in logs.items() if log is not None}

    @property
    def is_beginning(self) -> bool:
        return bool(self._restarts)

    @property
    def exhausted(self) -> bool:
        return False

    def close(self, timeout: float) -> None:  # noqa: ARG002  # leaving takes no time here
        self._closed = True
        self._answers.clear()
        if self._assignment is not None:
            self._assignment.leave()
            self._assignment = None
        self._waiter.notify()
