"""The simulated world of one seed: a broker, members that come and go, and time that passes when nobody has work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from flowdsl.brokers.local.client import LocalClient
from flowdsl.brokers.local.waiter import NoWait
from flowdsl.plan.nodes import Plan
from flowdsl.testing.simulation.broker import SimulatedConsumer
from flowdsl.testing.simulation.faults import Dice
from flowdsl.testing.simulation.member import Member
from flowdsl.testing.simulation.oracle import Oracle, Violation
from flowdsl.testing.virtual import BEGINNING, VirtualClock
from flowdsl.types import Partition, Record, Topic

GROUP = "simulated"
SESSION = 8.0
"""Seconds after which a member that does not read is expelled."""
ROUNDS = 150
"""Turns in which things go wrong; afterwards the world must come to rest."""
MOST_ROUNDS = 6_000
MOST_IN_FLIGHT = 20_000
QUIET_SECONDS = 1.5
"""Without a read, a delivery or a commit for so long, beyond what the flow itself waits, the world is at rest."""


@frozen
class Scene:
    """What all seeds of a simulation share."""

    plan: Plan
    topics: Any
    records: Sequence[Record[Any]]
    members: int
    may_fail: frozenset[str]
    patience: float = 0.0
    """The longest time for which the flow holds something back, in seconds."""


class World:
    """One seed."""

    def __init__(self, scene: Scene, dice: Dice, oracle: Oracle, *, keeps_trace: bool) -> None:
        self._scene, self._dice, self._oracle = scene, dice, oracle
        self.clock = VirtualClock()
        self.trace: list[str] | None = [] if keeps_trace else None
        self._client = LocalClient(clock=self.clock, waiter=NoWait(), accepts_stale_commits=True)
        self._alive: list[Member] = []
        self._vanished: list[SimulatedConsumer] = []
        self._frozen: dict[int, float] = {}
        self.lives = 0
        self._last_event = 0.0
        self._last_commit = 0.0
        self.longest_without_commit = 0.0
        self._write()

    # -- the story ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live through it all. Raises Violation."""
        for _ in range(self._scene.members):
            self._join()
        for _ in range(ROUNDS):
            self._mischief()
            if not self._alive:
                self._join()
            self._one_turn()
        self.calm_down()

    def run_alone(self) -> None:
        """One member, no mischief: what the flow does by itself. Raises what it raises."""
        self._join()
        member = self._alive[0]
        idle = 0
        while member.is_alive and idle < 3:  # noqa: PLR2004  # reads that bring nothing, in a row
            before = member.loop.feeder.taken
            self._one_turn()
            self._one_turn()
            waits = not member.loop.feeder.is_empty or member.loop.feeder.taken > before
            idle = 0 if waits else idle + 1
        if member.is_alive:
            self._stop(member)

    def calm_down(self) -> None:
        """Nothing goes wrong any more: all must be done and committed in the end."""
        self._dice.calm_down()
        self._tell(None, "nothing goes wrong from here on")
        self._frozen.clear()
        for consumer in self._vanished:
            consumer.bury()
        if not self._alive:
            self._join()
        self._until_quiet()
        for member in list(self._alive):
            self._stop(member)
            self._until_quiet()
        self._join()
        self._until_quiet()
        for member in list(self._alive):
            self._stop(member)
        self._oracle.at_end()
        self._oracle.raise_violation()
        self._check_convergence()

    def _until_quiet(self) -> None:
        self._last_event = self.clock()
        for _ in range(MOST_ROUNDS):
            if not self._alive or self.clock() - self._last_event > QUIET_SECONDS + self._scene.patience:
                return
            self._one_turn()
        raise Violation("converges", f"the members do not come to rest within {MOST_ROUNDS} turns")

    def _check_convergence(self) -> None:
        committed = self._client.committed(GROUP)
        for partition, log in sorted(self._oracle.logs.items()):
            end = log.offsets[-1] + 1
            if committed.get(partition, 0) < end:
                text = f"{partition} is committed at {committed.get(partition, 0)} in the end, and its last record is at {end - 1}"
                raise Violation("converges", text)

    def _one_turn(self) -> None:
        now = self.clock()
        for each in self._alive:
            each.consumer.arrive()
        ready = [m for m in self._alive if m.wake <= now and self._frozen.get(m.number, 0.0) <= now]
        if not ready:
            moments = [max(m.wake, self._frozen.get(m.number, 0.0)) for m in self._alive]
            self.clock.advance(max(0.0, min(moments, default=now) - now) + 0.0001)
            return
        member = self._dice.random.choice(ready)
        member.turn()
        if self._alive and member.loop.gate.in_flight > MOST_IN_FLIGHT:
            raise Violation("bounded", f"member {member.number} has {member.loop.gate.in_flight} records in flight")
        self._bury(member)

    # -- mischief -------------------------------------------------------------------------------------------------

    def _mischief(self) -> None:
        weather, random = self._dice.weather, self._dice.random
        if self._alive and self._dice.falls(weather.crash):
            member = random.choice(self._alive)
            self._tell(member, "is killed")
            member.vanish()
            self._vanished.append(member.consumer)
            self._alive.remove(member)
        if self._alive and self._dice.falls(weather.leave):
            self._stop(random.choice(self._alive))
        if self._alive and self._dice.falls(weather.freeze):
            member = random.choice(self._alive)
            seconds = random.choice((0.5, SESSION / 2, SESSION * 1.5))
            self._tell(member, f"is frozen for {seconds} s")
            self._frozen[member.number] = self.clock() + seconds
        if len(self._alive) < self._scene.members and random.random() < 0.1:
            self._join()

    def _join(self) -> None:
        number = self.lives = self.lives + 1
        settings = {
            "max.poll.interval.ms": int(SESSION * 1000),
            "partition.assignment.strategy": "range" if self._dice.weather.eager else "cooperative-sticky",
        }
        inner = self._client.consumer(group_id=GROUP, settings=settings)
        consumer = SimulatedConsumer(
            inner, self._dice, self.clock, lambda text: self._consumer_tells(number, text), self
        )
        member = Member(
            number,
            self._scene.plan,
            self._scene.topics,
            consumer,
            self._dice,
            self.clock,
            self._got,
            may_fail=self._scene.may_fail,
        )
        self._tell(member, "joins")
        member.begin()
        self._alive.append(member)

    def _stop(self, member: Member) -> None:
        self._tell(member, "is asked to stop")
        member.stop()
        self._bury(member)

    def _bury(self, member: Member) -> None:
        self._oracle.raise_violation()
        if member.is_alive:
            return
        if member in self._alive:
            self._alive.remove(member)
        if member.error is not None:
            self._tell(member, f"ended: {type(member.error).__name__}")
        if member.unexpected is not None:
            raise Violation("raised", f"a member died of what nobody did to it: {member.unexpected!r}") from member.unexpected

    # -- what is seen ---------------------------------------------------------------------------------------------

    def _write(self) -> None:
        random, weather = self._dice.random, self._dice.weather
        for topic, partitions in layout(self._scene.records).items():
            self._client.storage.add(topic, partitions)
        for index, record in enumerate(self._scene.records):
            log = self._client.storage.logs(record.topic)[record.partition]
            if random.random() < weather.gaps:
                log.skip(random.randint(1, 4))
            offset = log.append(record.key, record.value, record.headers, record.timestamp or BEGINNING)
            self._oracle.wrote(Partition(Topic(record.topic), record.partition), offset, index)

    def _got(self, sink: str, output: Any, member: Member) -> None:
        self._tell(member, f"{sink} gets {output!r:.100}")
        self._last_event = self.clock()
        self._oracle.got(sink, output, member.number, member.consumer.epochs)

    def committing(self, consumer: SimulatedConsumer, offsets: Mapping[Partition, int]) -> None:
        """A commit leaves a member."""
        now = self.clock()
        self._last_event = now
        self.longest_without_commit = max(self.longest_without_commit, now - self._last_commit)
        self._last_commit = now
        owners = self._client.groups.group(GROUP).owners
        owned = [partition for partition in offsets if owners.get(partition) == consumer.member_id]
        self._oracle.committing(lambda partition: (id(consumer), partition, consumer.epochs[partition]), offsets, owned)

    def _consumer_tells(self, number: int, text: str) -> None:
        if text.startswith("reads"):
            self._last_event = self.clock()
        if self.trace is not None:
            self.trace.append(f"{self.clock():9.3f}  member {number}  {text}")

    def _tell(self, member: Member | None, text: str) -> None:
        if self.trace is not None:
            who = "        " if member is None else f"member {member.number}"
            self.trace.append(f"{self.clock():9.3f}  {who}  {text}")


def layout(records: Sequence[Record[Any]]) -> dict[str, int]:
    """The topics, with as many partitions as the records need."""
    partitions: dict[str, int] = {}
    for record in records:
        partitions[record.topic] = max(partitions.get(record.topic, 0), record.partition + 1)
    return partitions

