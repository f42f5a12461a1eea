"""A member of a simulated group: commits that are late or lost, reads that fail, and an end without a word."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping
from datetime import datetime
from typing import Protocol

from flowdsl.brokers.local.consumer import LocalConsumer
from flowdsl.brokers.protocols import Listener, Topics
from flowdsl.clock import Clock
from flowdsl.errors import BrokerError
from flowdsl.records import Records
from flowdsl.testing.simulation.faults import SESSION, Dice
from flowdsl.testing.simulation.reading import Untold, gathered, spans
from flowdsl.types import BrokerValue, KafkaPayload, Partition

Tell = Callable[[str], None]
Answered = Callable[[BrokerError | None], None]


class Watch(Protocol):
    """Who looks at what members tell the broker."""

    def committing(self, consumer: SimulatedConsumer, offsets: Mapping[Partition, int]) -> None:
        """A commit leaves a member: from this moment it may take effect."""
        ...

    def reading(self, consumer: SimulatedConsumer) -> None:
        """A read of a member brings records."""
        ...

    def seeking(self, consumer: SimulatedConsumer, offsets: Mapping[Partition, int]) -> None:
        """A member goes back to what it has not done."""
        ...

    def giving_up(self, consumer: SimulatedConsumer, partitions: Collection[Partition]) -> Callable[[], None]:
        """A member is about to give these up; to be called once it has."""
        ...


class SimulatedConsumer:
    """A member of the group. ``wake``: when it has something to do again."""

    def __init__(self, inner: LocalConsumer, dice: Dice, clock: Clock, tell: Tell, watch: Watch) -> None:
        self._inner, self._dice, self._clock, self._tell, self._watch = inner, dice, clock, tell, watch
        self.poll_interval, self.largest_read = inner.poll_interval, inner.largest_read
        self.commits = self.commits_start = True
        self.is_beginning = False
        self.wake = clock()
        self.epochs: dict[Partition, int] = {}
        self._changed: set[Partition] = set()
        self._untold = Untold()
        self._under_way: deque[tuple[float, dict[Partition, int], BrokerError | None, Answered]] = deque()
        self._answers: deque[tuple[Answered, BrokerError | None]] = deque()
        self._gone = False
        self._last_read = self.returned = clock()
        self.unanswered = 0
        self.arrived: dict[Partition, int] = {}
        """What the group had committed when this member was assigned a partition, or by its commits that took effect since.

        A commit of an earlier owner, or assignment, may come later and go back behind that; nobody reads again for it.
        """
        self.positions: dict[Partition, int] = {}
        """Up to where the assigned partitions were read."""

    def subscribe(self, topics: Topics, listener: Listener) -> None:
        self._inner.subscribe(topics, _Watched(listener, self, self._tell, self._watch))

    def read(self, limit: int, timeout: float) -> Records:
        self._answer()
        was_away = self._clock() - self._last_read > SESSION
        self._last_read = self._clock()
        weather = self._dice.weather
        if self._dice.falls(min(1.0, weather.read_fails * (20 if was_away else 1))):
            self._tell("read fails")
            text = "the simulated broker failed a read"
            raise BrokerError(text)
        most = limit if self._dice.calm else min(limit, self._dice.random.randint(1, self._dice.most_at_once))
        records: Records = self._inner.read(most, 0.0)
        if len(records) and self._dice.falls(weather.read_twice):
            records = self._read_on(records, min(most, limit - len(records)))
        if self._dice.falls(weather.read_freezes):
            self._tell("is frozen in its read")
            self._clock.sleep(1.2 * SESSION)
        self.positions.update(records.positions)
        self.wake = self._clock() + (0.0 if len(records) else timeout)
        self.returned = self._clock()
        if len(records):
            self._tell(f"reads {spans(records)}")
            self._watch.reading(self)
        return self._untold.told(records, later=len(records) > 0 and self._dice.falls(weather.position_late))

    def _read_on(self, records: Records, most: int) -> Records:
        """Time passes with records in hand, and then a rebalance may begin."""
        self._clock.sleep(self._dice.delay(0.2))
        self._changed.clear()
        return gathered(records, self._inner.read(most, 0.0), self._changed)

    def poll(self, timeout: float = 0.0) -> BrokerValue[KafkaPayload] | None:
        return self._inner.poll(timeout)

    def pause(self, partitions: Collection[Partition]) -> None:
        self._inner.pause(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._inner.resume(partitions)

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self._tell(f"seeks {named(offsets)}")
        self._watch.seeking(self, offsets)
        self._untold.forget(offsets)
        for partition, offset in offsets.items():
            self.begin_epoch(partition)
            self.positions[partition] = offset
        self._inner.seek(offsets)

    @property
    def member_id(self) -> int | None:
        """What the group calls this member."""
        return self._inner.member_id

    def life(self, partition: Partition) -> Hashable:
        """Which reading of a partition this is."""
        return self, partition, self.epochs.get(partition, 0)  # not its id, which another one may have later

    def changes_hands(self, partitions: Collection[Partition]) -> None:
        """What was read of these and not returned yet is not returned."""
        self._changed.update(partitions)
        self._untold.forget(partitions)

    def begin_epoch(self, partition: Partition) -> None:
        """From here on this partition is read anew: what was delivered before may come again."""
        self.epochs[partition] = self.epochs.get(partition, 0) + 1

    def commit(self, offsets: Mapping[Partition, int], answered: Answered) -> None:
        wanted = dict(offsets)
        error = (
            BrokerError("the simulated broker lost a commit")
            if self._dice.falls(self._dice.weather.commit_lost)
            else None
        )
        at = self._clock() + self._dice.delay(self._dice.weather.commit_delay)
        self._tell(f"commits {named(wanted)}{', which is lost' if error else ''}")
        self._clock.sleep(0.0)  # who commits without end is found out
        self._watch.committing(self, wanted)
        self._under_way.append((at, wanted, error, answered))
        self.unanswered += 1

    def settle(self, timeout: float) -> None:
        """Time passes until what is under way is answered, or the time is up."""
        latest = self._clock() + timeout
        for at, *_ in list(self._under_way):
            if at > self._clock():
                self._clock.sleep(min(at, latest) - self._clock())
        self._answer()

    def confirm(self, timeout: float) -> None:
        self._inner.confirm(timeout)

    def arrive(self) -> None:
        """Commits whose time has come take effect, whatever the member that sent them is doing."""
        now = self._clock()
        while self._under_way and self._under_way[0][0] <= now:
            _, offsets, error, answered = self._under_way.popleft()
            if error is None:
                self._inner.commit(offsets, _ignore)
                self.arrived.update({p: max(at, self.arrived.get(p, 0)) for p, at in offsets.items()})
            self._answers.append((answered, error))

    def _answer(self) -> None:
        self.arrive()
        while self._answers:
            answered, error = self._answers.popleft()
            self.unanswered -= 1
            answered(error)

    def ends(self, partitions: Collection[Partition] | None = None) -> Mapping[Partition, int] | None:
        return self._inner.ends(partitions)

    def offsets_at(self, when: datetime) -> Mapping[Partition, int]:
        return self._inner.offsets_at(when)

    def known_ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return self._inner.known_ends(partitions)

    @property
    def exhausted(self) -> bool:
        return False

    def close(self, timeout: float) -> None:
        if not self._gone:
            self._gone = True
            self._inner.close(timeout)

    def vanish(self) -> None:
        """The process died: the group finds out when it is not heard of any more. A commit on the wire arrives or not."""
        self._gone = True
        for _, offsets, error, _ in self._under_way:
            if error is None and self._dice.random.random() < 0.5:
                self._inner.commit(offsets, _ignore)
        self._under_way.clear()

    def bury(self) -> None:
        """The group found out."""
        self._inner.close(0.0)


def _ignore(_: BrokerError | None) -> None:
    pass


class _Watched:
    """The listener of a member, with a look at what it is told."""

    def __init__(self, listener: Listener, consumer: SimulatedConsumer, tell: Tell, watch: Watch) -> None:
        self._listener, self._consumer, self._tell, self._watch = listener, consumer, tell, watch

    def assigned(self, partitions: Mapping[Partition, int]) -> None:
        self._tell(f"is assigned {named(partitions)}")
        for partition, offset in partitions.items():
            self._consumer.begin_epoch(partition)
            self._consumer.positions[partition] = self._consumer.arrived[partition] = offset
        self._consumer.changes_hands(partitions)
        self._listener.assigned(partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        self._tell(f"is to give up {', '.join(map(str, sorted(partitions)))}")
        self._consumer.changes_hands(partitions)
        gave_up = self._watch.giving_up(self._consumer, partitions)
        self._listener.revoked(partitions)
        gave_up()
        self._forget(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        self._tell(f"lost {', '.join(map(str, sorted(partitions)))}")
        self._consumer.changes_hands(partitions)
        self._listener.lost(partitions)
        self._forget(partitions)

    def _forget(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._consumer.positions.pop(partition, None)


def named(offsets: Mapping[Partition, int]) -> str:
    return ", ".join(f"{partition} at {offset}" for partition, offset in sorted(offsets.items())) or "nothing"
