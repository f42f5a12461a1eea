"""The partitions that one consumer reads: from where, how far it came, which are paused, which changed hands.

The one place that assigns, seeks and pauses. ``position()`` is asked from here, and only after a read that returned
normally and in which nothing changed hands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flowdsl.brokers.kafka.commits import Epochs
from flowdsl.brokers.kafka.errors import error_of
from flowdsl.brokers.kafka.places import theirs
from flowdsl.types import Partition


class Assignment:
    """``whole``: partitions are assigned all at once, as eager groups do; otherwise they come and go one by one."""

    def __init__(self, handle: Consumer, epochs: Epochs, *, whole: bool) -> None:
        self._handle, self._epochs, self._whole = handle, epochs, whole
        self.positions: dict[Partition, int] = {}
        """Where each partition is read next, as far as the last read told."""
        self.moved: set[Partition] = set()
        """Changed hands since the last read: what was read of them belongs to somebody else, or comes again."""
        self.restarts: dict[Partition, int] = {}
        """Their log is another one than the one that was read: they are to be begun again there, and rest until then."""
        self._unchecked: set[Partition] = set()
        """Assigned, and not compared yet with the epoch up to which they were read."""
        self._skipped: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._order: list[Partition] = []
        self._theirs: list[TopicPartition] = []

    @property
    def only(self) -> Partition | None:
        """The partition, if there is exactly one."""
        return self._order[0] if len(self._order) == 1 else None

    @property
    def unpaused(self) -> set[Partition]:
        """Those that records come from."""
        return self.positions.keys() - self._paused

    def add(self, offsets: Mapping[Partition, int]) -> None:
        self.positions.update(offsets)
        self.moved.update(offsets)
        self._assign(offsets)
        self._changed()

    def remove(self, partitions: Collection[Partition]) -> None:
        mine = [partition for partition in partitions if partition in self.positions]
        for partition in mine:
            del self.positions[partition]
        self.moved.update(partitions)
        for partition in partitions:
            self._skipped.pop(partition, None)
            self.restarts.pop(partition, None)
        self._paused.difference_update(partitions)
        self._unchecked.difference_update(partitions)
        self._epochs.forget(partitions)
        if not self._whole:
            self._handle.incremental_unassign(theirs(mine))
        elif self.positions:
            self._assign({})
        else:
            self._handle.unassign()
        self._changed()

    def move(self, offsets: Mapping[Partition, int]) -> None:
        """Read on from there. A partition that librdkafka does not read yet, or not any more, is assigned anew."""
        self._seek({p: offset for p, offset in offsets.items() if not self._stands_at(p, offset)})

    def _seek(self, moves: Mapping[Partition, int]) -> None:
        self.positions.update(moves)
        for partition, offset in moves.items():
            if self._goes_to(partition):
                continue
            if not self._whole:
                self._handle.incremental_unassign(theirs([partition]))
            self._assign({partition: offset})
            self._pause_again()
            if self._whole:
                return

    def check(self) -> set[Partition]:
        """Have the logs of what was assigned compared with the epochs up to which they were read: one that was cut below
        there, and written anew, has other records at these offsets. Librdkafka compares where it seeks, and not where it
        assigns. Returns those: what came of them before does not count.
        """
        checked = self._unchecked.copy()
        for partition in checked:
            if not self._goes_to(partition):
                self.moved.add(partition)  # it is not read yet
        return checked

    def check_again(self, partition: Partition, offset: int) -> None:
        """Go there once more, and compare; or to where it is to be read next, if that is before it."""
        self._seek({partition: min(offset, self.positions[partition])})

    def skip(self, partition: Partition, offset: int) -> None:
        """Read on from there, since what was before it is gone: that is progress too, even if nothing comes any more."""
        self.move({partition: offset})
        self._skipped[partition] = offset

    def begin_again(self, end: Callable[[Collection[Partition]], None]) -> dict[Partition, int]:
        """Read ``restarts`` from where they begin, once what was read of them has come to its end; returns those."""
        if not self.restarts:
            return {}
        end(sorted(self.restarts))
        restarts, self.restarts = self.restarts, {}
        self._epochs.forget(restarts)
        self._seek(restarts)
        return restarts

    def progress(self) -> dict[Partition, range]:
        """The offsets that each partition moved past since the last time."""
        passed = {partition: range(offset, offset) for partition, offset in self._skipped.items()}
        self._skipped.clear()
        positions = self.positions
        for partition, found in zip(self._order, self._handle.position(self._theirs), strict=True):
            offset, before = found.offset, positions[partition]
            if offset >= 0 and offset != before:
                passed[partition] = range(before, offset)
                positions[partition] = offset
                self._epochs.read(partition, offset, found.leader_epoch)
        return passed

    def pause(self, partitions: Collection[Partition]) -> None:
        mine = self.positions.keys() & set(partitions)
        self._paused |= mine
        if mine:
            self._handle.pause(theirs(mine))

    def resume(self, partitions: Collection[Partition]) -> None:
        mine = self.positions.keys() & set(partitions)
        self._paused -= mine
        if mine:
            self._handle.resume(theirs(mine))

    def clear(self) -> None:
        """Forget all, without telling librdkafka: it is being closed."""
        self.positions.clear()
        self._changed()

    def _assign(self, offsets: Mapping[Partition, int]) -> None:
        """These, and with them all others where they are assigned at once."""
        chosen = self.positions if self._whole else offsets
        places = [self._epochs.place(*each) for each in sorted(chosen.items())]
        (self._handle.assign if self._whole else self._handle.incremental_assign)(places)
        self._unchecked.update(place for place in chosen if self._epochs.at(place, chosen[place]) is not None)

    def _goes_to(self, partition: Partition) -> bool:
        """Go where it is to be read next. False: librdkafka does not read it yet, or not any more."""
        try:
            self._handle.seek(self._epochs.place(partition, self.positions[partition]))
        except KafkaException as failure:
            if error_of(failure).code() != KafkaError._STATE:  # noqa: SLF001  # librdkafka's own errors are named so
                raise
            return False
        self._unchecked.discard(partition)
        return True

    def _stands_at(self, partition: Partition, offset: int) -> bool:
        """Whether it will be read from there, with nothing read since that was said."""
        if self.positions[partition] != offset:
            return False
        found = self._handle.position(theirs([partition]))
        return found[0].offset < 0

    def _pause_again(self) -> None:
        """A partition that is assigned anew is not paused any more."""
        if self._paused:
            self._handle.pause(theirs(self._paused))

    def _changed(self) -> None:
        self._order = sorted(self.positions)
        self._theirs = theirs(self._order)
