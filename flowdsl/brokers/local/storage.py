"""The topics of one embedded broker.

One reentrant lock guards all of it. Writers and readers hold it for a slice of records at a time and call nothing
foreign meanwhile, so it cannot be part of a deadlock; a reader that took its slice reads it without the lock, because
columns only grow.
"""

from __future__ import annotations

from threading import RLock

from flowdsl.brokers.local.log import Log
from flowdsl.brokers.naming import check_topic_name, topic_not_found
from flowdsl.errors import BrokerError
from flowdsl.types import Partition, Topic


class Storage:
    """``layout`` changes with every topic or partition made or deleted; ``births`` counts the partitions ever made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = RLock()
        self.layout = 0
        self.births = 0
        self.closed = False
        self._topics: dict[str, list[Log]] = {}

    def check_open(self) -> None:
        """Raise BrokerError once the broker was closed."""
        if self.closed:
            msg = f"{self.name} was closed and holds nothing any more; make a new one"
            raise BrokerError(msg)

    def topics(self) -> dict[str, int]:
        """The topics with their number of partitions, sorted by name."""
        with self.lock:
            self.check_open()
            return {name: len(logs) for name, logs in sorted(self._topics.items())}

    def create(self, name: str, partitions: int, *, exist_ok: bool = True) -> None:
        with self.lock:
            self.check_open()
            if name not in self._topics:
                self.add(check_topic_name(name), partitions)
            elif not exist_ok:
                msg = f"topic {name!r} exists on {self.name} already; pass exist_ok=True to take it as it is"
                raise BrokerError(msg)

    def add(self, name: str, partitions: int) -> None:
        """A new topic, whatever its name: simulations read values in memory from a topic without one."""
        with self.lock:
            self.layout += 1
            self._topics[name] = self._new_logs(partitions)

    def grow(self, name: str, partitions: int) -> None:
        """Give a topic that many partitions, if it has fewer."""
        with self.lock:
            logs = self._logs(name)
            self.layout += 1
            logs += self._new_logs(partitions - len(logs))

    def delete(self, name: str) -> None:
        with self.lock:
            self._logs(name)
            del self._topics[name]
            self.layout += 1

    def find(self, partition: Partition) -> Log | None:
        """The log of a partition; None if there is none (any more)."""
        logs = self._topics.get(partition.topic.name)
        return logs[partition.index] if logs is not None and 0 <= partition.index < len(logs) else None

    def partitions(self, topics: list[str]) -> dict[Partition, Log]:
        """The partitions of these topics, in order. Raises TopicNotFound."""
        with self.lock:
            self.check_open()
            return {Partition(Topic(name), at): log for name in topics for at, log in enumerate(self._logs(name))}

    def logs(self, name: str) -> list[Log]:
        """The logs of a topic, to be used under the lock. Raises TopicNotFound."""
        return self._logs(name)

    def close(self) -> None:
        """Forget everything."""
        with self.lock:
            self.closed = True
            self._topics.clear()
            self.layout += 1

    def _new_logs(self, count: int) -> list[Log]:
        first, self.births = self.births + 1, self.births + max(0, count)
        return [Log(born) for born in range(first, self.births + 1)]

    def _logs(self, name: str) -> list[Log]:
        self.check_open()
        logs = self._topics.get(name)
        if logs is None:
            raise topic_not_found(name, self._topics, self.name)
        return logs
