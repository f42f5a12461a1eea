"""A consumer without a group: it reads every partition of its topics, and commits nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flowdsl.brokers.kafka.asking import Asker
from flowdsl.brokers.kafka.assignment import Assignment
from flowdsl.brokers.kafka.topics import partitions_in
from flowdsl.brokers.protocols import Listener, Start
from flowdsl.types import Partition


class Alone:
    """The same face as ``Group``, whose callbacks this one has no need of."""

    error: BaseException | None = None
    is_called = False
    is_closed = False
    unresolved: Collection[Partition] = ()

    def __init__(self, assignment: Assignment, asker: Asker, listener: Listener, start: Start) -> None:
        self._assignment, self._asker, self._listener = assignment, asker, listener
        self._start: Start = start
        self._wanted: list[Partition] = []

    def read(self, topics: Mapping[str, int]) -> None:
        """These are the topics, with their number of partitions."""
        self._wanted = partitions_in(topics)

    @property
    def waiting(self) -> Collection[Partition]:
        return ()

    def serve(self) -> None:
        """Take what is new: at the start what ``start`` means, later partitions from their beginning."""
        self._tell(self._assignment.begin_again(self._listener.revoked))
        mine = self._assignment.positions
        gone = mine.keys() - set(self._wanted)
        if gone:
            self._listener.revoked(sorted(gone))
            self._assignment.remove(gone)
        new = [partition for partition in self._wanted if partition not in mine]
        start, self._start = self._start, "earliest"
        if new:
            offsets = self._asker.starts(new, start)
            self._assignment.add(offsets)
            self._tell(offsets)

    def _tell(self, offsets: Mapping[Partition, int]) -> None:
        if offsets:
            self._listener.assigned({partition: offsets[partition] for partition in sorted(offsets)})
