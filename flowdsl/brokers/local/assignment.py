"""What is assigned to one consumer: by its group, or everything where there is no group.

The listener is called from here alone, always from within ``serve``, which ``read`` calls.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from re import Pattern

from flowdsl.brokers.local.group import Group
from flowdsl.brokers.local.start import start_of
from flowdsl.brokers.local.storage import Storage
from flowdsl.brokers.naming import topics_meant
from flowdsl.brokers.protocols import Listener, Start, Topics
from flowdsl.errors import BrokerError
from flowdsl.types import Partition


class Subscription:
    """The partitions that some topics have now; asked often, so worked out only when a topic was made or deleted."""

    def __init__(self, storage: Storage, topics: Topics) -> None:
        self._storage = storage
        self.topics = topics
        self._layout = -1
        self._partitions: frozenset[Partition] = frozenset()

    def names(self) -> list[str]:
        """Raises TopicNotFound."""
        return topics_meant(self.topics, self._storage.topics(), self._storage.name)

    def partitions(self) -> frozenset[Partition]:
        """Raises TopicNotFound."""
        if self._layout != self._storage.layout:
            with self._storage.lock:
                self._layout = self._storage.layout
                self._partitions = frozenset(self._storage.partitions(self.names()))
        return self._partitions

    def key_of(self, partition: Partition) -> str:
        """What the subscription to this partition is remembered by: its topic, or the pattern."""
        return f"pattern {self.topics.pattern}" if isinstance(self.topics, Pattern) else partition.topic.name

    def remembered(self) -> list[str]:
        return [f"pattern {self.topics.pattern}"] if isinstance(self.topics, Pattern) else self.names()


class Assigned:
    """What is assigned, however it came to be."""

    def __init__(self, storage: Storage, subscription: Subscription, listener: Listener, start: Start) -> None:
        self._storage, self._subscription, self._listener = storage, subscription, listener
        self._start: Start = start
        self.positions: dict[Partition, int] = {}

    def begin_again(self, offsets: Mapping[Partition, int]) -> None:
        """Read these from there, once what was read of them has come to its end."""
        self._listener.revoked(sorted(offsets))
        self.positions.update(offsets)
        self._commit_start(offsets)
        self._listener.assigned(offsets)

    def _commit_start(self, offsets: Mapping[Partition, int]) -> None:
        """Without a group there is nothing to commit for."""


class Alone(Assigned):
    """Without a group: every partition of the subscribed topics, and nothing is committed."""

    def __init__(self, storage: Storage, subscription: Subscription, listener: Listener, start: Start) -> None:
        super().__init__(storage, subscription, listener, start)
        self._births = storage.births

    def serve(self) -> None:
        wanted = self._subscription.partitions()
        gone = self.positions.keys() - wanted
        if gone:
            self._listener.revoked(sorted(gone))
            for partition in gone:
                self.positions.pop(partition)
        if new := wanted - self.positions.keys():
            assigned = _begin(self._storage, new, lambda _: self._births, self._start)
            self.positions.update(assigned)
            self._listener.assigned(assigned)

    def commit(self, offsets: dict[Partition, int]) -> BrokerError | None:  # noqa: ARG002  # the same face as InGroup
        return BrokerError("there is no group to commit for: give the source a group_id")

    def leave(self) -> None:
        self.positions.clear()


class InGroup(Assigned):
    """As a member of a group, which it joins with the first ``serve``."""

    def __init__(
        self,
        storage: Storage,
        subscription: Subscription,
        listener: Listener,
        start: Start,
        group: Group,
        *,
        poll_interval: float,
        eager: bool,
        commits_start: bool,
    ) -> None:
        super().__init__(storage, subscription, listener, start)
        self._group = group
        self._poll_interval, self._eager, self._commits_start = poll_interval, eager, commits_start
        self.member_id: int | None = None
        self._was_told = False
        for key in subscription.remembered():
            group.began(key, storage.births)

    def serve(self) -> None:
        while True:
            wanted = self._subscription.partitions()
            if self.member_id is None:
                self.member_id = self._group.new_id()
                self._group.join(self.member_id, wanted, self._poll_interval, eager=self._eager)
            order = self._group.heartbeat(self.member_id, wanted)
            if order is None:
                self._lose()
            elif order.revoke:
                self._give_up(order.revoke)
            elif order.assign:
                self._take(order.assign)
            else:
                self._tell_of_nothing(self.member_id)
                return

    def commit(self, offsets: dict[Partition, int]) -> BrokerError | None:
        return self._group.commit(-1 if self.member_id is None else self.member_id, offsets)

    def leave(self) -> None:
        if self.member_id is not None:
            self._group.leave(self.member_id)
        self.member_id = None
        self.positions.clear()

    def _tell_of_nothing(self, member_id: int) -> None:
        """A member for which no partition is left has its assignment too."""
        if not self._was_told and self._group.has_all(member_id):
            self._was_told = True
            self._listener.assigned({})

    def _lose(self) -> None:
        self.member_id = None
        if self.positions:
            self._listener.lost(sorted(self.positions))
            self.positions.clear()

    def _give_up(self, partitions: Collection[Partition]) -> None:
        self._listener.revoked(sorted(partitions))
        for partition in partitions:
            self.positions.pop(partition, None)
        if self.member_id is not None:
            self._group.release(self.member_id, partitions)

    def _take(self, partitions: Collection[Partition]) -> None:
        committed = self._group.committed()
        fresh = [partition for partition in partitions if partition not in committed]
        begun = _begin(self._storage, fresh, self._births_before, self._start)
        if begun and self._commits_start:
            self._group.begin(begun)
        assigned = {at: begun[at] if at in begun else committed[at] for at in sorted(partitions)}
        self.positions.update(assigned)
        self._was_told = True
        self._listener.assigned(assigned)

    def _commit_start(self, offsets: Mapping[Partition, int]) -> None:
        if self._commits_start:
            self.commit(dict(offsets))  # refused where others have them by now, which the next read tells

    def _births_before(self, partition: Partition) -> int:
        return self._group.began(self._subscription.key_of(partition), self._storage.births)


def _begin(
    storage: Storage, partitions: Collection[Partition], births_before: Callable[[Partition], int], start: Start
) -> dict[Partition, int]:
    """Where to begin: at ``start`` in partitions that were there from the first, at the beginning in later ones."""
    offsets: dict[Partition, int] = {}
    with storage.lock:
        for partition in sorted(partitions):
            log = storage.find(partition)
            late = log is not None and log.born > births_before(partition)
            offsets[partition] = 0 if log is None else start_of(log, "earliest" if late else start)
    return offsets
