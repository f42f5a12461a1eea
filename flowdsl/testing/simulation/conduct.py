"""How members behave, whatever goes wrong around them: they read in time, and nothing that they have no room for; they
wait no longer than they may; and what they delivered is committed when they end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowdsl.interface.step import Step
from flowdsl.processing.loop import LEAVE_SECONDS
from flowdsl.processing.membership import SHARE
from flowdsl.testing.simulation.faults import SESSION
from flowdsl.testing.simulation.member import Member
from flowdsl.testing.simulation.oracle import Oracle
from flowdsl.testing.simulation.scene import Scene
from flowdsl.types import Partition

LENIENCE = 6.0
"""Seconds that a wait may take beyond its deadline: each stage that rejects takes its time to say so."""


class Conduct:
    """Tells the oracle what was not right."""

    def __init__(self, oracle: Oracle, scene: Scene) -> None:
        self._oracle = oracle
        self._is_foreign = scene.has_foreign
        self._tells = scene.delivers_alone

    def reads(self, member: Member) -> None:
        """A read brought records."""
        if not member.loop.feeder.is_empty:
            self._oracle.broken("bounded", f"member {member.number} reads on while records wait for their room")

    def turned(self, member: Member, began: float) -> None:
        """A turn is over that began then."""
        away = began - member.consumer.returned
        if member.is_alive and away > SESSION / 2:
            text = (
                f"member {member.number} has its turns and did not read for {away:.1f} s: its group takes it for dead"
            )
            self._oracle.broken("bounded", text)
        pipeline = member.loop.pipelines.current
        if isinstance(pipeline, Step) and pipeline.waiting > 1:
            text = f"the pipeline of member {member.number} took {pipeline.waiting} messages that its first step did not take"
            self._oracle.broken("bounded", text)

    def giving_up(self, member: Member) -> Callable[[], None]:
        """It is about to join what is under way and to commit; to be called once it has."""
        return self._waits(member, 2 * min(SESSION / SHARE, member.join_timeout), "gives up partitions")

    def ending(self, member: Member) -> Callable[[], None]:
        """It is about to end; to be called once it has."""
        seconds = member.stop_timeout + max(LEAVE_SECONDS, member.stop_timeout - LEAVE_SECONDS)
        ended = self._waits(member, seconds, "ends") if member.is_hurried else lambda: None
        read = member.consumer.positions if member.loop.feeder.is_empty else {}
        latest = member.clock() + LEAVE_SECONDS

        def check() -> None:
            ended()
            if member.clock() - member.loop.gate.last_read >= SESSION:
                return  # others may have its partitions by now
            if not member.is_hurried:
                self._came_to_its_end(member, read)
            if member.stop_timeout >= LEAVE_SECONDS and member.clock() <= latest:
                self._committed_what_it_delivered(member)

        return check

    def _committed_what_it_delivered(self, member: Member) -> None:
        """If it never read but one partition: among several the order of arrival decides what may be committed."""
        partitions = member.loop.membership.partitions
        if self._tells and len(partitions) == len(member.consumer.epochs) == 1:
            committed = {each: member.consumer.arrived[each] for each in partitions}
            self._oracle.left(member.number, member.consumer.epochs, committed)

    def _came_to_its_end(self, member: Member, read: Mapping[Partition, int]) -> None:
        """By itself: what it was to read is committed."""
        errand, partitions = member.errand, member.loop.membership.partitions
        if member.is_finished or self._is_foreign:
            return
        wanted = {each: errand.ends[each] for each in partitions} if errand.until else read
        for partition, offset in sorted(wanted.items()):
            at = member.consumer.arrived[partition]
            if at < offset:
                text = f"member {member.number} came to its end{errand} with {partition} at {at}, not at {offset}"
                self._oracle.broken("converges", text)
        if errand.count is not None and member.loop.feeder.taken > errand.count:
            text = f"member {member.number} took {member.loop.feeder.taken} records, and was to take {errand.count}"
            self._oracle.broken("bounded", text)

    def _waits(self, member: Member, most: float, what: str) -> Callable[[], None]:
        """Nobody waits longer than that, apart from the time that functions take."""
        began, spent = member.clock(), member.risk.spent

        def check() -> None:
            took = member.clock() - began - (member.risk.spent - spent)
            if took > most + LENIENCE and not self._is_foreign:
                text = f"member {member.number} {what} and waits for {took:.1f} s, where it has {most:.1f}"
                self._oracle.broken("bounded", text)

        return check
