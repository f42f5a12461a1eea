"""The embedded broker as a ``Client``. Each one holds topics and groups of its own; two of them share nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowdsl.brokers.local.consumer import LocalConsumer
from flowdsl.brokers.local.coordinator import Coordinator
from flowdsl.brokers.local.producer import LocalProducer
from flowdsl.brokers.local.storage import Storage
from flowdsl.brokers.local.waiter import ThreadWaiter, Waiter
from flowdsl.brokers.protocols import OnGap, Settings, Start
from flowdsl.brokers.settings import checked_settings, number, protocol_of
from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.types import Partition

POLL_INTERVAL_MS = 300_000
QUEUE_SIZE = 100_000


class LocalClient:
    """``partitions``: of topics that are made by the first write to them.

    ``clock``, ``waiter``: for virtual time, a clock that somebody drives and ``NoWait``. ``accepts_stale_commits``: take
    commits of members that were expelled, as real brokers were seen to do. ``storage`` is for tests and simulations:
    logs with gaps, truncated logs, topics that grow.
    """

    def __init__(
        self,
        *,
        partitions: int = 1,
        clock: Clock = SYSTEM_CLOCK,
        waiter: Waiter | None = None,
        accepts_stale_commits: bool = False,
        name: str = "the embedded broker",
    ) -> None:
        self.name = name
        self.partitions = partitions
        self.clock = clock
        self.waiter = ThreadWaiter() if waiter is None else waiter
        self.storage = Storage(name)
        self.groups = Coordinator(clock, self.waiter.notify, accepts_stale_commits=accepts_stale_commits)

    def consumer(
        self,
        *,
        group_id: str | None,
        start: Start = "earliest",
        on_gap: OnGap = "fail",
        settings: Settings | None = None,
        values_only: bool = False,  # noqa: ARG002  # a whole record is there already, and costs nothing more
    ) -> LocalConsumer:
        self.storage.check_open()
        given = checked_settings(settings)
        return LocalConsumer(
            self.storage,
            None if group_id is None else self.groups.group(group_id),
            clock=self.clock,
            waiter=self.waiter,
            start=start,
            on_gap=on_gap,
            poll_interval=number(given, "max.poll.interval.ms", POLL_INTERVAL_MS) / 1000,
            eager=protocol_of(given) == "eager",
        )

    def producer(self, *, settings: Settings | None = None) -> LocalProducer:
        self.storage.check_open()
        given = checked_settings(settings)
        return LocalProducer(
            self.storage,
            clock=self.clock,
            waiter=self.waiter,
            partitions=self.partitions,
            queue_size=number(given, "queue.buffering.max.messages", QUEUE_SIZE),
        )

    def create_topic(
        self,
        name: str,
        *,
        partitions: int,
        replication: int,  # noqa: ARG002  # there is one copy, in memory
        settings: Mapping[str, Any],  # noqa: ARG002  # nothing is compacted or expires here
        exist_ok: bool,
    ) -> None:
        self.storage.create(name, partitions, exist_ok=exist_ok)
        self.waiter.notify()

    def delete_topic(self, name: str) -> None:
        self.storage.delete(name)
        self.groups.forget(name)
        self.waiter.notify()

    def topics(self) -> dict[str, int]:
        return self.storage.topics()

    def committed(self, group_id: str) -> dict[Partition, int]:
        self.storage.check_open()
        return self.groups.group(group_id).committed()

    def lag(self, group_id: str) -> dict[Partition, int]:
        lags: dict[Partition, int] = {}
        with self.storage.lock:
            for partition, offset in self.committed(group_id).items():
                log = self.storage.find(partition)
                if log is not None:
                    lags[partition] = max(0, log.end - max(offset, log.beginning))
        return lags

    def close(self) -> None:
        self.storage.close()
        self.waiter.notify()
