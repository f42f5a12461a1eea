"""The simulated world of one seed: a broker, members that come and go, and time that passes when nobody has work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from flowdsl.brokers.local.client import LocalClient
from flowdsl.brokers.local.waiter import NoWait
from flowdsl.brokers.protocols import Outgoing
from flowdsl.stages.switch import GRACE
from flowdsl.testing.simulation.conduct import Conduct
from flowdsl.testing.simulation.consumer import SimulatedConsumer, named
from flowdsl.testing.simulation.errand import Errand
from flowdsl.testing.simulation.faults import SESSION, Dice
from flowdsl.testing.simulation.member import Member
from flowdsl.testing.simulation.oracle import Oracle
from flowdsl.testing.simulation.producer import Epochs
from flowdsl.testing.simulation.scene import Scene
from flowdsl.testing.simulation.topics import Topics
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import Partition

GROUP = "simulated"
ROUNDS = 150
"""Turns in which things go wrong; afterwards the world must come to rest."""
MOST_SLEEPS = 50_000
"""In one turn of one member; more is taken for a wait without end."""


class PatientClock(VirtualClock):
    """Finds out waits that never end."""

    sleeps = 0

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        if self.sleeps > MOST_SLEEPS:
            text = f"a member waits without end: it slept {MOST_SLEEPS} times in one turn"
            raise RuntimeError(text)
        super().sleep(seconds)


class World:
    """One seed. ``last_event``: when something was last read, delivered, committed, or given up as failed."""

    def __init__(self, scene: Scene, dice: Dice, oracle: Oracle, *, keeps_trace: bool) -> None:
        self.scene, self.dice, self.oracle = scene, dice, oracle
        self.clock = PatientClock()
        self.trace: list[str] | None = [] if keeps_trace else None
        self.client = LocalClient(clock=self.clock, waiter=NoWait(), accepts_stale_commits=True)
        self.topics = Topics(scene, self.client, dice, oracle.wrote)
        self.conduct = Conduct(oracle, scene)
        self.alive: list[Member] = []
        self._vanished: list[SimulatedConsumer] = []
        self._frozen: dict[int, float] = {}
        self.lives = 0
        self.ended_by_itself = False
        """Whether the member that was there last had all that its flow wanted."""
        self.last_event = 0.0
        self._last_commit = 0.0
        self.longest_without_commit = 0.0

    # -- the story ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """The time in which things go wrong. Raises Violation."""
        for _ in range(self.scene.members):
            self.join()
        for _ in range(ROUNDS):
            self._mischief()
            if not self.alive:
                self.join()
            self.one_turn()

    def calm_down(self) -> None:
        """Nothing goes wrong any more, but not everything is done at once."""
        self.dice.calm_down(friction=not self.scene.has_foreign)
        self.tell(None, "nothing goes wrong from here on")
        self._frozen.clear()
        for consumer in self._vanished:
            consumer.bury()

    def one_turn(self) -> None:
        """One turn of somebody who has work; or time passes until somebody has."""
        now = self.clock()
        for each in self.alive:
            each.consumer.arrive()
        ready = [m for m in self.alive if m.wake <= now and self._frozen.get(m.number, 0.0) <= now]
        if not ready:
            moments = [max(m.wake, self._frozen.get(m.number, 0.0)) for m in self.alive]
            self.clock.advance(max(0.0, min(moments, default=now) - now) + 0.0001)
            return
        member = self.dice.random.choice(ready)
        self.clock.sleeps = 0
        given_up = member.given_up
        member.turn()
        self.conduct.turned(member, now)
        if member.given_up > given_up:
            self.last_event = self.clock()
        self.oracle.in_flight(member.number, member.loop.gate.in_flight)
        self._bury(member)

    def join(self) -> None:
        """A member begins."""
        number = self.lives = self.lives + 1
        settings = {
            "max.poll.interval.ms": int(SESSION * 1000),
            "partition.assignment.strategy": "range" if self.dice.weather.eager else "cooperative-sticky",
        }
        inner = self.client.consumer(group_id=GROUP, settings=settings)
        consumer = SimulatedConsumer(
            inner, self.dice, self.clock, lambda text: self._note(f"member {number}", text), self
        )
        errand = Errand.drawn(self.dice, self.topics.ends)
        member = Member(
            number, self.scene, errand, consumer, self.dice, self.clock, self._got, self.tell, self.conduct.ending
        )
        self.tell(member, f"joins{errand}")
        member.begin()
        self.alive.append(member)

    def stop_if_alive(self, member: Member) -> bool:
        """SIGTERM; whether there was somebody to get it."""
        if not member.is_alive:
            return False
        self.tell(member, "is asked to stop")
        self.clock.sleeps = 0
        member.stop()
        self._bury(member)
        return True

    def _bury(self, member: Member) -> None:
        if member.is_alive:
            self.oracle.raise_violation()
            return
        if member in self.alive:
            self.alive.remove(member)
        self.ended_by_itself = member.is_finished
        if member.error is not None:
            self.tell(member, f"ended: {type(member.error).__name__}")
        if member.unexpected is not None:
            self.oracle.broken(
                "raised", f"{member.unexpected!r} ended a member, and nothing did that to it", member.unexpected
            )
        self.oracle.raise_violation()

    # -- mischief -------------------------------------------------------------------------------------------------

    def _mischief(self) -> None:
        weather, random = self.dice.weather, self.dice.random
        self.topics.write_some()
        if self.alive and self.dice.falls(weather.crash):
            member = random.choice(self.alive)
            self.tell(member, "is killed")
            member.vanish()
            self._vanished.append(member.consumer)
            self.alive.remove(member)
        if self.alive and self.dice.falls(weather.leave):
            self.stop_if_alive(random.choice(self.alive))
        if self.alive and self.dice.falls(weather.freeze):
            member = random.choice(self.alive)
            seconds = random.choice((0.5, SESSION / 2, SESSION * 1.5))
            self.tell(member, f"is frozen for {seconds} s")
            self._frozen[member.number] = self.clock() + seconds
        if len(self.alive) < self.scene.members and random.random() < 0.1:
            self.join()

    # -- what is seen ---------------------------------------------------------------------------------------------

    def _got(self, sink: str, output: Any, member: Member, epochs: Epochs) -> None:
        seen = output.value if isinstance(output, Outgoing) else output
        self.tell(member, f"{sink} gets {seen!r:.100}")
        self.last_event = self.clock()
        self.oracle.got(sink, output, member.number, epochs)

    def committing(self, consumer: SimulatedConsumer, offsets: Mapping[Partition, int]) -> None:
        """A commit leaves a member."""
        now = self.clock()
        self.last_event = now
        self.longest_without_commit = max(self.longest_without_commit, now - self._last_commit)
        self._last_commit = now
        group = self.client.groups.group(GROUP)
        member = group.members.get(consumer.member_id or 0)
        heard_of = member is not None and now - member.seen <= member.poll_interval
        owned = [each for each in offsets if heard_of and group.owners.get(each) == consumer.member_id]
        ends = self.topics.ends
        if consumer.unanswered:
            self.oracle.broken("overlap", f"{named(offsets)} is to be committed before the last commit was answered")
        self.oracle.committing(consumer.life, offsets, owned, ends)

    def reading(self, consumer: SimulatedConsumer) -> None:
        """A read of a member brings records."""
        self.last_event = self.clock()
        member = self._of(consumer)
        if member is not None:
            self.conduct.reads(member)

    def seeking(self, consumer: SimulatedConsumer, offsets: Mapping[Partition, int]) -> None:
        """A member goes back to what it has not done."""
        self.oracle.seeking(consumer.life, offsets)

    def giving_up(self, consumer: SimulatedConsumer, partitions: Collection[Partition]) -> Callable[[], None]:
        """Nobody takes long for that; a member that is asked to when nothing goes wrong leaves nothing of them undone."""
        member = self._of(consumer)
        if member is None:
            return lambda: None
        checks = [self.conduct.giving_up(member)]
        if member.has_time:
            checks.append(self.all_done(member, partitions))

        def check() -> None:
            for each in checks:
                each()

        return check

    def all_done(self, member: Member, partitions: Collection[Partition]) -> Callable[[], None]:
        """What that member has handed on of these now has to be committed when the result is called.

        Unless something may be tried again later than anybody who gives up partitions waits: who has them next reads it.
        """
        if self.scene.retried > GRACE:
            return lambda: None
        positions = member.consumer.positions if member.loop.feeder.is_empty else {}
        taken = {partition: positions[partition] for partition in partitions if partition in positions}

        def check() -> None:
            committed = self.client.committed(GROUP)
            for partition, position in sorted(taken.items()):
                at = committed.get(partition, 0)
                if at < position and not member.is_finished:
                    text = f"member {member.number} had all the time it needed, but left {partition} committed at {at} of {position}"
                    self.oracle.broken("converges", text)

        return check

    def _of(self, consumer: SimulatedConsumer) -> Member | None:
        return next((each for each in self.alive if each.consumer is consumer), None)

    def tell(self, member: Member | None, text: str) -> None:
        """A line for the trace."""
        self._note("" if member is None else f"member {member.number}", text)

    def _note(self, who: str, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.clock():9.3f}  {who:<9} {text}")
