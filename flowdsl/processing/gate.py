"""The one gate through which commits leave.

Only partitions of the current assignment, only growing within it, only what changed, one commit under way at a time,
always asynchronous and answered in the loop. A member that has not read for longer than the broker's patience commits
nothing: its partitions may be somebody else's by now, and brokers were seen to accept what it sends.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial

from flowdsl.brokers.protocols import Consumer, Outage, Rebalancing
from flowdsl.clock import Clock, Deadline
from flowdsl.errors import BrokerError, CommitFailed, Fenced, NotAuthorized, TopicNotFound
from flowdsl.records import Records
from flowdsl.stages.ledger import Ledger
from flowdsl.types import NEVER, CommitPolicy, Partition

REPEAT_SECONDS = 1.0
"""After a commit that failed the next one is sent, whatever the policy says."""
AGAIN = 0.05
"""The same where a run waits for it."""

_FINAL = (Fenced, NotAuthorized, TopicNotFound)
"""Failures that no repetition mends: the group must not wait for one."""
_TOLD = (Rebalancing, Outage)
"""What the log knows already."""

logger = logging.getLogger("flowdsl")


class Gate:
    """Keeps what is done, and commits it when the policy says so. The ``commit`` that pipelines are given."""

    def __init__(self, consumer: Consumer, policy: CommitPolicy, clock: Clock) -> None:
        self._consumer, self._policy, self._clock = consumer, policy, clock
        self._ledger: Ledger | None = None
        self._assigned: dict[Partition, int] = {}
        self._reached: dict[Partition, int] = {}
        self._stands: dict[Partition, tuple[int, int]] = {}
        """Behind the last record that was read of each partition, and where the reader stands: no record is in between."""
        self._under_way: dict[Partition, int] | None = None
        self._forced = False
        self._last_time = clock()
        self._last_done = 0
        self.last_read = clock()
        self.committed: dict[Partition, int] = {}
        """What the broker acknowledged, of every partition that this run ever had."""
        self._acknowledged: dict[Partition, int] = {}
        self.error: BrokerError | None = None

    # -- what is done ---------------------------------------------------------------------------------------------

    def __call__(self, offsets: Mapping[Partition, int], force: bool = False) -> None:
        for partition, offset in offsets.items():
            start = self._assigned.get(partition)
            if start is not None and offset > self._reached.get(partition, start):
                self._reached[partition] = offset
        self._forced = self._forced or force

    def follow(self, ledger: Ledger) -> None:
        """Ask this ledger for what is done, whenever a commit is due."""
        self.catch_up()
        self._ledger, self._last_done = ledger, 0

    def reads(self, records: Records) -> None:
        """A pipeline written by hand gets these. Where the reader stands is done as soon as the last of them is."""
        for partition, last in dict(records.place(index) for index in range(len(records))).items():
            self._stands[partition] = last + 1, last + 1
        for partition, position in records.positions.items():
            end, _ = self._stands.get(partition, (self._assigned.get(partition, position), position))
            self._stands[partition] = end, position

    def catch_up(self) -> None:
        """Take over what the ledger knows, and what there is no record of."""
        if self._ledger is not None:
            self(self._ledger.committable())
        for partition, (end, position) in self._stands.items():
            if self._reached.get(partition, self._assigned.get(partition, -1)) >= end:
                self({partition: position})

    def reached(self, partition: Partition) -> int:
        """The next offset of an assigned partition that is not done."""
        self.catch_up()
        return self._reached.get(partition, self._assigned[partition])

    def forget(self, partitions: Collection[Partition]) -> None:
        """These were lost: nothing of them may be committed any more, whatever is still reported."""
        for partition in partitions:
            self._assigned.pop(partition, None)
            self._reached.pop(partition, None)

    @property
    def in_flight(self) -> int:
        """How many records the current pipeline has not done."""
        return 0 if self._ledger is None else self._ledger.in_flight

    # -- the assignment -------------------------------------------------------------------------------------------

    def assign(self, partitions: Mapping[Partition, int]) -> None:
        for partition, offset in partitions.items():
            self._assigned[partition] = offset
            if self.committed.get(partition, offset) > offset:
                del self.committed[partition]  # of a log that is not there any more, or reset by somebody
            self._stands.pop(partition, None)
            self._reached.pop(partition, None)
            self._acknowledged.pop(partition, None)

    def release(self, partitions: Collection[Partition]) -> None:
        """These are not ours any more: nothing of them will be committed."""
        for partition in partitions:
            self._assigned.pop(partition, None)
            self._reached.pop(partition, None)
            self._acknowledged.pop(partition, None)
            if self._under_way is not None:
                self._under_way.pop(partition, None)  # its answer says nothing about a later assignment

    def drop_ledger(self) -> None:
        """The pipeline is gone; what it had done is known, and due at once: the next one does not count it."""
        if self._news():
            self._forced = True
        self._ledger = None

    # -- sending --------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Send a commit if one is due."""
        if self._under_way is None and self._is_due():
            self._send()

    def deadline(self) -> float | None:
        """When a commit may be due, on the loop's clock."""
        if not self._may_commit or self._under_way is not None:
            return None  # an answer wakes the loop by itself
        return self._moment()

    def end(self, deadline: Deadline) -> None:
        """``send_last``, unless the topics are not those that were read: raises BrokerError then."""
        if self._may_commit:
            self._consumer.confirm(deadline.remaining() or 0.0)
        self.send_last(deadline)

    def send_last(self, deadline: Deadline) -> None:
        """Commit all that is done, and wait for the answer. Raises CommitFailed when there is none in time.

        Also for what is lost while it waits: who hears nothing takes all of it for committed.
        """
        if not self._may_commit:
            return
        wanted = self._news()
        self._settle(deadline)
        while self._under_way is None and self._news() and not deadline.expired:
            self._send()
            if self._under_way is None:
                break  # too late: others may have these partitions by now
            self._settle(deadline)
            if isinstance(self.error, _FINAL):
                break
            if self.error is not None:
                deadline.pause(AGAIN)
        owed = self._news()
        gone = {p: o for p, o in wanted.items() if p not in owed and o > self.committed.get(p, -1)}
        if owed or gone:
            missing = sorted({**owed, **gone}.items())
            shown = ", ".join(f"{partition} up to {offset}" for partition, offset in missing)
            msg = (
                f"the last commit was not acknowledged ({shown}): {self.error or self._silence(is_gone=bool(gone))}. "
                "Nothing is lost; these records will be read again"
            )
            raise CommitFailed(msg) from self.error

    def _silence(self, *, is_gone: bool) -> str:
        """Why there is no answer."""
        if not self._is_in_time():
            return f"nothing was read for {self._consumer.poll_interval:g} s, others may have these partitions by now"
        return "the group took partitions away meanwhile" if is_gone else "no answer in time"

    @property
    def _may_commit(self) -> bool:
        return self._consumer.commits and self._policy != NEVER

    def _is_in_time(self) -> bool:
        return self._clock() - self.last_read < self._consumer.poll_interval

    def _is_due(self) -> bool:
        if not self._may_commit:
            return False
        messages, moment = self._policy.min_commit_messages, self._moment()
        if self._forced or (moment is not None and self._clock() >= moment):
            return True
        return messages is not None and self._done_since() >= messages

    def _moment(self) -> float | None:
        """The time of the next commit, where that is a matter of time."""
        seconds = REPEAT_SECONDS if self.error is not None else self._policy.min_commit_frequency_sec
        return None if seconds is None else self._last_time + seconds

    def _done_since(self) -> int:
        if self._ledger is not None:
            return self._ledger.done - self._last_done
        self.catch_up()
        return sum(offset - self._acknowledged.get(p, self._assigned[p]) for p, offset in self._reached.items())

    def _news(self) -> dict[Partition, int]:
        self.catch_up()
        known, assigned = self._acknowledged, self._assigned
        return {p: offset for p, offset in self._reached.items() if offset > known.get(p, assigned[p])}

    def _send(self) -> None:
        if not self._is_in_time():
            return
        news = self._news()
        self._forced = False
        self._last_time = self._clock()
        self._last_done = self._ledger.done if self._ledger is not None else 0
        if news:
            self._under_way = dict(news)
            self._consumer.commit(news, partial(self._answered, news))

    def _answered(self, sent: Mapping[Partition, int], error: BrokerError | None) -> None:
        ours, self._under_way = self._under_way or {}, None
        before, self.error = self.error, error
        if error is not None:
            is_told = isinstance(error, _TOLD) or not (before is None or isinstance(before, _TOLD))
            level = logging.DEBUG if is_told else logging.WARNING  # once, until one succeeds
            logger.log(level, "a commit failed and will be repeated: %s", error)
            return
        self.committed.update(sent)
        self._acknowledged.update(ours)

    def _settle(self, deadline: Deadline) -> None:
        """Wait for the answer. One that does not come in time is waited for on: there is never a second one under way."""
        if self._under_way is not None:
            self._consumer.settle(deadline.remaining() or 0.0)
