"""What a driven flow reads: records that a test sent, in the order in which it sent them, and the offsets that were committed.

The feed outlives crashes. A consumer of it lives as long as one life of the flow; rebalances happen when the test says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any

from flowdsl.brokers.protocols import LARGEST_READ, Listener, Topics
from flowdsl.errors import BrokerError
from flowdsl.records import Records
from flowdsl.types import BrokerValue, KafkaPayload, Partition, Record

Sent = tuple[int, Partition, Record[Any]]
"""One record, with its place in the order in which all were sent."""


class FedRecords(Records):
    """Some records of a feed."""

    __slots__ = ("_sent",)

    def __init__(self, sent: Sequence[Sent], positions: Mapping[Partition, int]) -> None:
        super().__init__(positions)
        self._sent = sent

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def payload(self) -> list[Any]:
        return [record.value for _, _, record in self._sent]

    def place(self, index: int) -> tuple[Partition, int]:
        _, partition, record = self._sent[index]
        return partition, record.offset

    def record(self, index: int) -> Record[Any]:
        return self._sent[index][2]

    def window(self, start: int, stop: int) -> FedRecords:
        return FedRecords(self._sent[start:stop], self.positions if stop >= len(self) else {})


class Feed:
    """The partitions, as far as something was sent to them, and what was committed."""

    def __init__(self) -> None:
        self.partitions: dict[Partition, list[Sent]] = {}
        self.committed: dict[Partition, int] = {}
        self._count = 0

    def end(self, partition: Partition) -> int:
        """The offset that the next record gets."""
        return len(self.partitions.get(partition, ()))

    def append(self, partition: Partition, record: Record[Any]) -> None:
        self.partitions.setdefault(partition, []).append((self._count, partition, record))
        self._count += 1

    def after(self, positions: Mapping[Partition, int], limit: int) -> list[Sent]:
        """The next records behind these positions."""
        return list(islice(merge(*(self._from(*at) for at in positions.items()), key=itemgetter(0)), limit))

    def _from(self, partition: Partition, offset: int) -> Iterator[Sent]:
        return islice(self.partitions.get(partition, ()), offset, None)


class FeedConsumer:
    """Implements ``Consumer`` over a feed. ``assign`` and ``revoke`` take effect at once, outside of reads."""

    commits = True
    commits_start = False
    poll_interval = float("inf")
    largest_read = LARGEST_READ
    is_beginning = False
    exhausted = False

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._listener: Listener | None = None
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._answers: deque[Callable[[BrokerError | None], None]] = deque()

    # -- what the test decides ------------------------------------------------------------------------------------

    @property
    def assigned(self) -> frozenset[Partition]:
        return frozenset(self._positions)

    @property
    def behind(self) -> int:
        """How many records of the assigned partitions were not read."""
        return sum(self._feed.end(partition) - offset for partition, offset in self._positions.items())

    def assign(self, partitions: Collection[Partition]) -> None:
        """Begin to read these, each where it was committed."""
        added = {p: self._feed.committed.get(p, 0) for p in sorted(partitions) if p not in self._positions}
        self._positions.update(added)
        if added and self._listener is not None:
            self._listener.assigned(added)

    def revoke(self, partitions: Collection[Partition]) -> None:
        """Take these away: what is done of them may be committed until this returns."""
        gone = [partition for partition in sorted(partitions) if partition in self._positions]
        if gone and self._listener is not None:
            self._listener.revoked(gone)
        for partition in gone:
            del self._positions[partition]

    # -- the protocol ---------------------------------------------------------------------------------------------

    def subscribe(self, topics: Topics, listener: Listener) -> None:  # noqa: ARG002  # the test names the partitions
        self._listener = listener

    def read(self, limit: int, timeout: float) -> FedRecords:  # noqa: ARG002  # what was sent is here, and time stands still
        self.settle(0.0)
        readable = {p: offset for p, offset in self._positions.items() if p not in self._paused}
        sent = self._feed.after(readable, limit)
        moved = {partition: record.offset + 1 for _, partition, record in sent}
        self._positions.update(moved)
        return FedRecords(sent, moved)

    def poll(self, timeout: float = 0.0) -> BrokerValue[KafkaPayload] | None:
        records = self.read(1, timeout)
        if not len(records):
            return None
        record = records.record(0)
        payload = KafkaPayload(record.key, record.value, record.headers)
        return BrokerValue(payload, records.place(0)[0], record.offset, record.timestamp)

    def pause(self, partitions: Collection[Partition]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._paused.difference_update(partitions)

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self._positions.update({p: offset for p, offset in offsets.items() if p in self._positions})

    def commit(self, offsets: Mapping[Partition, int], answered: Callable[[BrokerError | None], None]) -> None:
        self._feed.committed.update(offsets)
        self._answers.append(answered)

    def settle(self, timeout: float) -> None:  # noqa: ARG002  # every commit is accepted when it is made
        while self._answers:
            self._answers.popleft()(None)

    def confirm(self, timeout: float) -> None:
        """No topic is ever made anew here."""

    def ends(self, partitions: Collection[Partition] | None = None) -> dict[Partition, int]:
        return self.known_ends(self._feed.partitions if partitions is None else partitions)

    def known_ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return {partition: self._feed.end(partition) for partition in partitions}

    def offsets_at(self, when: datetime) -> dict[Partition, int]:
        return {
            partition: sum(record.timestamp is not None and record.timestamp < when for _, _, record in sent)
            for partition, sent in self._feed.partitions.items()
        }

    def close(self, timeout: float) -> None:  # noqa: ARG002  # nothing to wait for
        self._listener = None
        self._positions.clear()
