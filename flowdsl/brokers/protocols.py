"""What a broker's client must offer: consumers, producers, topics, committed offsets. No flows here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from re import Pattern
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Struct

from flowdsl.errors import BrokerError, BrokerUnreachable
from flowdsl.records import Records
from flowdsl.types import BrokerValue, KafkaPayload, Partition, Topic

Topics = Sequence[str] | Pattern[str]
Settings = Mapping[str, Any]
OnGap = Literal["fail", "earliest"]


class Last(Struct, frozen=True):
    """Begin ``n`` records before the end of each partition."""

    n: int

    def __repr__(self) -> str:
        return f"last({self.n})"


LARGEST_READ = 8000
"""Records that a read of a broker brings at most. Each read, and all that is done about it, finds the processor's cache
full of other things, and more than these bring nothing more.
"""

Start = Literal["earliest", "latest"] | datetime | Last


class Rebalancing(BrokerError):  # noqa: N818  # named for what happens
    """A commit was refused because its group deals partitions anew: what is still owned then is to be committed again."""


class Outage(BrokerUnreachable):
    """A commit failed while the broker is away, which was told already: what is done is to be committed again."""


class Listener(Protocol):
    """Told of changes of the assignment, from within ``read``, on its thread. Never raises: it stores what went wrong."""

    def assigned(self, partitions: Mapping[Partition, int]) -> None:
        """These were added; the values are the offsets at which they will be read.

        Told with none as well, when a group has nothing for this member.
        """
        ...

    def revoked(self, partitions: Collection[Partition]) -> None:
        """These will be taken away when this returns; until then their offsets may be committed."""
        ...

    def lost(self, partitions: Collection[Partition]) -> None:
        """These are somebody else's already; nothing of them may be committed."""
        ...


class Consumer(Protocol):
    """One member of a group, or a reader without one. Used by one thread, apart from ``close`` at the very end."""

    commits: bool
    """Whether offsets can be committed: False without a group, and for values in memory."""

    commits_start: bool
    """Whether a group's start is committed when it is resolved. Set it to False before ``subscribe`` to commit nothing."""

    poll_interval: float
    """Seconds after which a member that does not read is taken for dead."""

    largest_read: int
    """How many records are read at once, and handed to a pipeline at once, at most: more than these would save nothing."""

    def subscribe(self, topics: Topics, listener: Listener) -> None:
        """Ask for the partitions of these topics. Raises TopicNotFound."""
        ...

    def read(self, limit: int, timeout: float) -> Records:
        """At most ``limit`` records, waiting up to ``timeout`` seconds for the first; may be empty.

        Serves rebalances (through the listener) and answers of commits. ``positions`` of the result names each
        assigned partition whose position moved, also when there are no records. Records whose partition changed hands
        during the read are not in the result.
        """
        ...

    def poll(self, timeout: float = 0.0) -> BrokerValue[KafkaPayload] | None:
        """The next record by itself."""
        ...

    def pause(self, partitions: Collection[Partition]) -> None:
        """Read nothing from these until ``resume``; membership is kept up by ``read``."""
        ...

    def resume(self, partitions: Collection[Partition]) -> None: ...

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Go on reading there. Partitions that are not assigned are passed over."""
        ...

    def commit(self, offsets: Mapping[Partition, int], answered: Callable[[BrokerError | None], None]) -> None:
        """Start a commit of next offsets; ``answered`` is called on this thread, from ``read`` or ``settle``."""
        ...

    def settle(self, timeout: float) -> None:
        """Wait until commits under way are answered, or the time is up. Allowed from within the listener."""
        ...

    def confirm(self, timeout: float) -> None:
        """Before the last commit, look for that many seconds whether the topics are still those that were read.

        Raises BrokerError where one was made anew: what was read of it says nothing about what is there.
        """
        ...

    def ends(self, partitions: Collection[Partition] | None = None) -> Mapping[Partition, int] | None:
        """The next offset to be written of every partition of the subscribed topics, as readers see it; or of these, in
        mid-run, where a broker that does not answer soon is BrokerUnreachable.

        None: nobody knows before it is reached; ``exhausted`` tells.
        """
        ...

    def offsets_at(self, when: datetime) -> Mapping[Partition, int]:
        """Per partition the first offset whose timestamp is not before ``when``; the end where there is none."""
        ...

    def known_ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Where these logs end as the broker told last; those that it did not tell of are absent. Asks nobody."""
        ...

    @property
    def is_beginning(self) -> bool:
        """Whether partitions came that the listener was not told of yet, because where they begin is not committed."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether nothing will ever come any more: True only for bounded sources that were read to their end."""
        ...

    def close(self, timeout: float) -> None:
        """Leave the group and free everything, within that many seconds. The listener is not called any more."""
        ...


class Outgoing(NamedTuple):
    """One record to be produced. ``partition`` None: chosen from the key as Kafka's Java clients do.

    A timestamp that is a number is milliseconds since 1970.
    """

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: datetime | int | None


class Delivery:
    """The reports of records that were sent together; filled in by the producer, looked at by who sent them."""

    __slots__ = ("failed", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.failed: dict[int, BrokerError] = {}

    def report(self, index: int, error: BrokerError | None) -> None:
        """The record with that index (counted over all that were sent with this delivery) was answered."""
        self.waiting -= 1
        if error is not None:
            self.failed[index] = error


class Producer(Protocol):
    """Sends records; used by one thread."""

    def expect(self, topic: str | None, partition: int | None = None) -> None:
        """Records will go there; None: each wherever it says. Raises TopicNotFound, NotAuthorized or BrokerUnreachable
        where that is of no use, and DeliveryFailed where the topic has no such partition.
        """
        ...

    def send(self, records: Sequence[Outgoing], delivery: Delivery, first: int = 0) -> int:
        """Queue records; returns how many were taken, fewer than given when the queue is full.

        Adds what was taken to ``delivery.waiting``; the record at position i is reported with index ``first + i``.
        """
        ...

    def poll(self, timeout: float = 0.0) -> None:
        """Serve reports, waiting up to ``timeout`` seconds for one."""
        ...

    def produce(self, destination: Topic | Partition, payload: KafkaPayload) -> Future[BrokerValue[KafkaPayload]]:
        """Send one record; the future holds it with partition and offset, or a BrokerError, as DeliveryFailed."""
        ...

    def purge(self) -> None:
        """Drop what is queued; it is reported as failed or not at all. Blocks on nothing."""
        ...

    def close(self, timeout: float) -> None:
        """Wait for what is queued, within that many seconds, and free everything."""
        ...


class Client(Protocol):
    """One broker, or cluster."""

    name: str
    """How messages and plans call it; holds no secrets."""

    def consumer(
        self,
        *,
        group_id: str | None,
        start: Start = "earliest",
        on_gap: OnGap = "fail",
        settings: Settings | None = None,
        values_only: bool = False,
    ) -> Consumer:
        """``values_only``: nobody will ask its records for key, headers or timestamp, and they may have none."""
        ...

    def producer(self, *, settings: Settings | None = None) -> Producer: ...

    def create_topic(
        self, name: str, *, partitions: int, replication: int, settings: Settings, exist_ok: bool
    ) -> None: ...

    def delete_topic(self, name: str) -> None: ...

    def topics(self) -> dict[str, int]: ...

    def committed(self, group_id: str) -> dict[Partition, int]: ...

    def lag(self, group_id: str) -> dict[Partition, int]: ...

    def close(self) -> None: ...
