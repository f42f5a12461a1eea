"""The logs of the simulated broker: records that are there from the start or come later, and gaps between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from flowdsl.brokers.local.client import LocalClient
from flowdsl.testing.simulation.faults import Dice
from flowdsl.testing.simulation.scene import Scene
from flowdsl.testing.virtual import BEGINNING
from flowdsl.types import Partition, Topic

Wrote = Callable[[Partition, int, int], None]
"""Told of partition, offset and number of each record that a log has."""
LARGEST_GAP = 4
MOST_AT_ONCE = 5
KEPT = 4
"""One in so many records comes when nothing goes wrong any more."""


class Topics:
    """Writes the records of a scene, in their order."""

    def __init__(self, scene: Scene, client: LocalClient, dice: Dice, wrote: Wrote) -> None:
        self._client, self._dice, self._wrote = client, dice, wrote
        self._layout = scene.layout
        self._unwritten = deque(enumerate(scene.records))
        for topic, partitions in self._layout.items():
            client.storage.add(topic, partitions)
        self._kept = 0
        count = len(scene.records)
        self.write(count - max(count // KEPT, int(dice.weather.late * count)))
        self._kept = count // KEPT

    def write_some(self) -> None:
        """A few more records arrive, perhaps."""
        left = len(self._unwritten) - self._kept
        if left > 0 and self._dice.random.random() < 0.2:
            self.write(min(left, self._dice.random.randint(1, MOST_AT_ONCE)))

    @property
    def left(self) -> int:
        """How many records are still to come."""
        return len(self._unwritten)

    def write(self, count: int | None = None) -> None:
        """The next records, or all that are left, which leave a gap behind them."""
        while self._unwritten and count != 0:
            index, record = self._unwritten.popleft()
            log = self._client.storage.logs(record.topic)[record.partition]
            self._gap(Partition(Topic(record.topic), record.partition))
            offset = log.append(record.key, record.value, record.headers, record.timestamp or BEGINNING)
            self._wrote(Partition(Topic(record.topic), record.partition), offset, index)
            count = None if count is None else count - 1

    def end(self) -> None:
        """Everything is written; perhaps transactions end behind the last records."""
        self.write()
        for partition in self.ends:
            self._gap(partition)

    @property
    def ends(self) -> Mapping[Partition, int]:
        """The next offset to be written of each partition."""
        return {
            Partition(Topic(topic), index): log.end
            for topic in self._layout
            for index, log in enumerate(self._client.storage.logs(topic))
        }

    def _gap(self, partition: Partition) -> None:
        if self._dice.random.random() < self._dice.weather.gaps:
            log = self._client.storage.logs(partition.topic.name)[partition.index]
            log.skip(self._dice.random.randint(1, LARGEST_GAP))
