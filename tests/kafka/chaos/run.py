"""One run: a broker, a group, a load, and the faults of a plan. Ends with a report, or with what was found."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, frozen
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # their documented place

from tests.kafka.chaos.load import Load
from tests.kafka.chaos.members import Members
from tests.kafka.chaos.oracle import Sinks, faults_of
from tests.kafka.chaos.plan import Fault, Kind, plan
from tests.kafka.server import KafkaServer, unique

MEMBER = "tests.kafka.chaos.member"
PARTITIONS = 8
COMMIT_EVERY = 1.0
IN_FLIGHT = 1.0
"""Seconds from a record's arrival until its offset may be committed, on a busy machine."""

MOST_MEMBERS = 4
JOINS_WITHIN = 90.0
SETTLES_WITHIN = 180.0


@frozen
class Report:
    """What a run came to."""

    protocol: str
    step: str
    seed: int
    faults: int
    sent: int
    delivered: int
    repeated: int
    most_repeated: int
    samples: int
    findings: tuple[str, ...]

    def __str__(self) -> str:
        verdict = "nothing lost, in order, commits behind the sinks" if not self.findings else "\n".join(self.findings)
        return (
            f"{self.protocol}, {self.step}, seed {self.seed}: {self.faults} faults, {self.sent} records, {self.delivered} in the sinks, "
            f"{self.repeated} of them again (at most {self.most_repeated}), {self.samples} samples of commits: {verdict}"
        )


@define
class Run:
    """The parts of one run, and what happens to them."""

    server: KafkaServer
    members: Members
    load: Load
    sinks: Sinks
    committed: Callable[[], dict[int, int] | None]
    ends: Callable[[], dict[int, int]]
    findings: list[str]
    say: Callable[[str], None]
    samples: int = 0
    away: float = 0.0
    """Seconds that the broker was away longer than planned."""

    def suffer(self, fault: Fault) -> None:
        """Let one fault happen; the broker is up again when this returns."""
        self.rest(fault.after)
        self.say(f"{fault.kind} ({fault.length:.1f} s)" if fault.length else fault.kind)
        happens: dict[Kind, Callable[[], object]] = {
            Kind.JOIN: self._join,
            Kind.LEAVE: lambda: self._member(fault, lambda member: member.stop()),
            Kind.KILL: lambda: self._member(fault, lambda member: member.kill()),
            Kind.WORKER_KILL: lambda: self._member(fault, lambda member: member.kill_worker(fault.pick)),
            Kind.FREEZE: lambda: self._freeze(fault),
            Kind.BROKER_PAUSE: lambda: self._broker(self.server.pause, fault.length, self.server.resume),
            Kind.BROKER_KILL: lambda: self._broker(self.server.kill, fault.length, self.server.start),
            Kind.BROKER_STOP: lambda: self._broker(self.server.stop, fault.length, self.server.start),
        }
        happens[fault.kind]()

    def _join(self) -> None:
        if len(self.members.at_work()) < MOST_MEMBERS:
            self.members.join()

    def _member(self, fault: Fault, happens: Callable[[Any], None]) -> None:
        at_work = self.members.at_work()
        if at_work:
            happens(at_work[fault.pick % len(at_work)])
        if len(at_work) <= 1:
            self.members.join()

    def _freeze(self, fault: Fault) -> None:
        """Only a member has a session; one that starts would find its time for that run out where the broker hangs too."""
        self.wait_for_members()
        self._member(fault, lambda member: member.freeze(fault.length))

    def _broker(self, down: Callable[[], None], seconds: float, up: Callable[[], object]) -> None:
        self.wait_for_members()
        began = time.monotonic()
        down()
        self.rest(seconds, sampling=False)
        up()
        self.wait_for_group()
        self.away += time.monotonic() - began - seconds

    def wait_for_group(self) -> None:
        """Until the broker says what the group has committed: a member that starts sooner might be told that it does not answer."""
        until = time.monotonic() + JOINS_WITHIN
        while self.committed() is None and time.monotonic() < until:
            self.rest(0.2, sampling=False)

    def wait_for_members(self) -> None:
        """Who starts while there is no broker is told so and ends; that is not what this is about."""
        until = time.monotonic() + JOINS_WITHIN
        while not all(member.has_joined for member in self.members.at_work()) and time.monotonic() < until:
            self.rest(0.2)

    def rest(self, seconds: float, *, sampling: bool = True) -> None:
        """Let time pass, looking at members and commits."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.members.look()
            if sampling:
                self.sample()
            time.sleep(0.1)

    def sample(self) -> dict[int, int] | None:
        """Compare what is committed with what is in the sinks; commits are asked first, so they may only lag."""
        committed = self.committed()
        if committed is None:
            return None
        self.samples += 1
        self.sinks.refresh()
        for partition, offset in committed.items():
            missing = self.sinks.holds(self.load.sent, partition, offset)
            if missing is not None:
                self.findings.append(f"partition {partition}: {offset} is committed, but {missing} is not in a sink")
        return committed

    def settle(self) -> None:
        """Wait until everything that was sent is committed."""
        self.load.end(SETTLES_WITHIN)
        ends = self.ends()
        until = time.monotonic() + SETTLES_WITHIN
        while (committed := self.sample()) != ends:
            self.members.look()
            if time.monotonic() > until:
                self.findings.append(f"the group does not get to the end: {committed} of {ends}")
                return
            if not self.members.at_work():
                self.members.join()
            time.sleep(0.2)


class Asker:
    """Asks what a group committed without being its member, by a way of our own and not by that of the library."""

    def __init__(self, address: str, topic: str, group: str) -> None:
        self._settings: dict[str, Any] = {"bootstrap.servers": address, "group.id": group, "log_level": 0}
        self._consumer = Consumer(self._settings)
        self._asked = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]

    def committed(self) -> dict[int, int] | None:
        try:
            answers = self._consumer.committed(self._asked, timeout=2.0)
        except KafkaException:
            self._consumer.close()  # it may never find a broker again that was the last one
            self._consumer = Consumer(self._settings)
            return None
        return {answer.partition: answer.offset for answer in answers if answer.offset >= 0 and not answer.error}

    def ends(self) -> dict[int, int]:
        """By a new connection each time: what an older one learnt of partitions while the broker began is no use."""
        until = time.monotonic() + SETTLES_WITHIN
        while True:
            consumer = Consumer(self._settings)
            try:
                return {
                    asked.partition: consumer.get_watermark_offsets(asked, timeout=30.0)[1] for asked in self._asked
                }
            except KafkaException:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
            finally:
                consumer.close()

    def close(self) -> None:
        self._consumer.close()


def most_repeated(faults: list[Fault], rate: int, away: float) -> int:
    """How many records may come again: what arrives between two commits, what was in flight, and what a pause held up.

    ``away``: seconds that the broker was away beyond what was planned.
    """
    return int(rate * (away + sum(COMMIT_EVERY + IN_FLIGHT + fault.length for fault in faults)))


def chaos(
    protocol: str,
    *,
    seed: int,
    seconds: float,
    rate: int = 2000,
    step: str = "plain",
    program: str = MEMBER,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Run it; takes the seconds of the plan and about half a minute. ``program`` is the module that members run, with a step of steps.py."""
    topic, group = unique("chaos"), unique("group")
    server = KafkaServer()
    with tempfile.TemporaryDirectory(prefix="flowdsl-chaos-") as name:
        folder = Path(name)
        members = Members(folder, program, [server.address, topic, group, protocol, step])
        try:
            server.start()
            admin = AdminClient({"bootstrap.servers": server.address, "log_level": 0})
            admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
            asker = Asker(server.address, topic, group)
            load, sinks = Load(server.address, topic, PARTITIONS, rate), Sinks(folder)
            run = Run(server, members, load, sinks, asker.committed, asker.ends, [], say)
            run.wait_for_group()
            for _ in range(2):
                members.join()
            run.wait_for_members()
            run.rest(5.0)
            faults = plan(seed, seconds, with_workers=step == "processes")
            for fault in faults:
                run.suffer(fault)
            run.settle()
            members.end()
            asker.close()
            sinks.refresh()
        finally:
            members.kill()
            server.remove()
        most = most_repeated(faults, rate, run.away)
        findings = [*run.findings[:5], *members.findings[:5], *faults_of(sinks, load.sent, load.unplaced)]
        if sinks.repeated > most:
            findings.append(f"{sinks.repeated} records came again, more than {most}")
        return Report(
            protocol,
            step,
            seed,
            len(faults),
            len(load.sent) + len(load.unplaced),
            len(sinks.lines),
            sinks.repeated,
            most,
            run.samples,
            tuple(findings),
        )
