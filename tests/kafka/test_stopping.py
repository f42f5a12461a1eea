"""The end of a run on a real Kafka: it comes in time, with what is done committed, whatever broker and group do."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from flowdsl import Kafka, Partition, Topic, every, sink
from tests.kafka.helpers import add, answers, fill, lines_until, program, wait_for
from tests.kafka.protocols import COOPERATIVE, EAGER, KIP_848, PROTOCOLS, in_every_protocol, settings_of
from tests.kafka.server import KafkaServer

pytestmark = pytest.mark.slow

SOON = 2.0 + 1.0 + 30.0
"""Two seconds and one record are promised; the rest is for a machine that is busy, and less than a thousand records take."""

SLOW = """
import json, sys, time
from flowdsl import *
from tests.kafka.protocols import settings_of

address, topic, group, protocol, fast = sys.argv[1:]
def work(value):
    if int(value) >= int(fast):
        print("begun", value.decode(), flush=True)
        sys.stdin.readline() if int(value) == int(fast) + 1 else time.sleep(1.0)
    global done
    done = int(value) + 1
done = 0
(Kafka(address).source(topic, group_id=group, settings=settings_of(protocol)) | sink(work)).run()
print("done", done, flush=True)
"""


@in_every_protocol
@pytest.mark.parametrize("fast", [0, 1000])
def test_slow_function_does_not_hold_up_a_stop(
    kafka: Kafka, kafka_address: str, t: str, g: str, protocol: str, fast: int
) -> None:
    fill(kafka, t, fast + 1000)
    with program(SLOW, kafka_address, t, g, protocol, str(fast)) as process:
        lines_until(process, f"begun {fast + 1}")
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate("\n", timeout=SOON)  # the record in hand may end now
    assert process.returncode == 0, errors
    assert output == f"done {fast + 2}\n", "work was begun after the signal"
    assert kafka.committed(g) == {Partition(Topic(t), 0): fast + 2}


COPY = """
import logging, sys
from flowdsl import *
from tests.kafka.protocols import settings_of

address, topic, group, protocol = sys.argv[1:]
logging.basicConfig(level=logging.INFO)
kafka = Kafka(address)
flow = kafka.source(topic, group_id=group, settings=settings_of(protocol)) | tap(lambda value: print(value.decode(), flush=True)) | kafka.sink(topic + "-out")
try:
    flow.run(stop_timeout=3.0)
except CommitFailed as failed:
    print(type(failed).__name__)
except StopTimeout as failed:
    print(type(failed).__name__)
"""


@in_every_protocol
def test_process_is_gone_by_its_deadline_when_the_broker_hangs(
    own_kafka: KafkaServer, t: str, g: str, protocol: str
) -> None:
    with Kafka(own_kafka.address) as kafka:
        fill(kafka, t, 100)
        kafka.create_topic(f"{t}-out")
        with program(COPY, own_kafka.address, t, g, protocol) as process:
            lines_until(process, "99")
            wait_for(lambda: kafka.committed(g) == {Partition(Topic(t), 0): 100})
            add(kafka, t, range(100, 200))
            lines_until(process, "199")
            own_kafka.pause()
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=120)
            took = time.monotonic() - began
            own_kafka.resume()
            wait_for(lambda: answers(kafka, t))
        assert took < 3.0 + 5.0 + 5.0 + 30.0, "stop_timeout, the last commit, leaving, and a machine that is busy"
        assert process.returncode == 0, errors
        if output.split() not in (["CommitFailed"], ["StopTimeout"]) and "lost: " not in errors:
            try:  # the broker, back from its pause, may have to load its groups again
                wait_for(lambda: sum(kafka.lag(g).values()) == 0, 60.0)
            except AssertionError:
                pytest.fail(f"it ended in silence without having committed: {errors}")
        with program(COPY, own_kafka.address, t, g, protocol) as process:  # what was not committed comes again
            add(kafka, t, range(200, 201))
            wait_for(lambda: kafka.committed(g) == {Partition(Topic(t), 0): 201})
        copied = {int(record.value or b"-1") for record in kafka.read(f"{t}-out")}
        assert copied >= set(range(200))


LAST = """
import sys
from flowdsl import *
from tests.kafka.protocols import settings_of

address, topic, group, protocol = sys.argv[1:]
source = Kafka(address).source(topic, group_id=group, settings=settings_of(protocol))
try:
    (source | sink(lambda value: print(value.decode(), flush=True))).run(stop_timeout=18.0, commit=every(seconds=3600))
except CommitFailed as failed:
    print(type(failed).__name__)
"""


@pytest.mark.parametrize("protocol", [EAGER, COOPERATIVE])
def test_session_that_ends_while_the_last_commit_waits_for_its_answer_is_told(
    own_kafka: KafkaServer, t: str, g: str, protocol: str
) -> None:
    with Kafka(own_kafka.address) as kafka:
        fill(kafka, t, 100)
        with program(LAST, own_kafka.address, t, g, protocol) as process:
            lines_until(process, "99")
            own_kafka.pause()
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=120)
            own_kafka.resume()
        assert process.returncode == 0, errors
        assert output.split() == ["CommitFailed"], errors
        assert "lost: " in errors, "six seconds without a heartbeat, and thirteen for the commit"


class Silence:
    """A consumer of librdkafka whose commits nobody answers."""

    def commit(self, offsets: object) -> None:
        pass


class Quiet:
    """Listens to what a group says, and does nothing about it."""

    def assigned(self, partitions: object) -> None: ...
    def revoked(self, partitions: object) -> None: ...
    def lost(self, partitions: object) -> None: ...


@in_every_protocol
def test_records_do_not_pile_up_while_a_commit_waits_for_its_answer_and_reading_goes_on_behind_it(
    kafka: Kafka, t: str, g: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(kafka, t, 20_000, partitions=2)
    consumer: Any = kafka.consumer(group_id=g, settings=settings_of(protocol))
    consumer.subscribe([t], Quiet())
    seen: list[int] = []

    def reads() -> int:
        seen.extend(map(int, consumer.read(500, 0.1).payload))
        return len(seen)

    wait_for(lambda: reads() >= 1000)
    monkeypatch.setattr(consumer._commits, "handle", Silence())  # a coordinator hangs, and the leaders do not
    consumer.commit({Partition(Topic(t), 0): 100}, pytest.fail)
    consumer.settle(1.0)
    assert consumer._supply.is_drained, "what came meanwhile was taken"
    wait_for(lambda: reads() >= 20_000)
    consumer.close(10.0)
    assert [number for number in seen if number % 2] == list(range(1, 20_000, 2))
    assert [number for number in seen if not number % 2] == list(range(0, 20_000, 2))


LONG = {"session.timeout.ms": 300_000}
"""A session that does not end by itself in a test."""


class Company:
    """Consumers of one group, by hand."""

    def __init__(self, kafka: Kafka, address: str, topic: str, group: str) -> None:
        self._kafka, self._topic, self._group = kafka, topic, group
        self._admin = AdminClient({"bootstrap.servers": address})
        self.members: list[Any] = []

    def join(self, settings: Mapping[str, object]) -> Any:
        member: Any = self._kafka.consumer(group_id=self._group, settings=settings)
        member.subscribe([self._topic], Quiet())
        self.members.append(member)
        return member

    def state(self, *readers: Any) -> tuple[str, list[int]]:
        """What the group says once these have read, or all: its state, and how many partitions each member has."""
        for member in readers or self.members:
            member.read(1, 0.05)
        try:
            found = self._admin.describe_consumer_groups([self._group])[self._group].result(30)
        except KafkaException:  # the first member is about to make it
            return "NONE", []
        return found.state.name, sorted(len(each.assignment.topic_partitions) for each in found.members)

    def wait_for(self, *partitions: int, readers: Sequence[Any] = ()) -> None:
        """What the group knows its members hear of a little later."""
        wait_for(lambda: all(self.state(*readers) == ("STABLE", [*partitions]) for _ in range(10)))

    def leave(self, member: Any, timeout: float) -> None:
        self.members.remove(member)
        member.close(timeout)


@pytest.fixture
def company(kafka: Kafka, kafka_address: str, t: str, g: str) -> Iterator[Company]:
    """The group ``g``, which reads the two partitions of ``t``."""
    kafka.create_topic(t, partitions=2)
    found = Company(kafka, kafka_address, t, g)
    yield found
    for member in found.members:
        member.close(30.0)


@in_every_protocol
@pytest.mark.parametrize("is_static", [False, True])
def test_member_without_partitions_leaves_its_group_and_a_static_one_may_come_again(
    company: Company, protocol: str, *, is_static: bool
) -> None:
    for name in ("one", "two", "three"):
        identity = {"group.instance.id": name} if is_static else {}
        company.join({**PROTOCOLS[protocol], **(LONG if protocol != KIP_848 else {}), **identity})
    company.wait_for(0, 1, 1)
    company.leave(min(company.members, key=lambda member: len(member._assignment.positions)), 30.0)
    _, remain = company.state()
    assert remain == ([0, 1, 1] if is_static else [1, 1])


def test_member_that_is_closed_while_it_joins_leaves_its_group_once_it_can(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    first = company.join({**LONG, "heartbeat.interval.ms": 300})
    company.wait_for(2)
    told: list[str] = []
    statistics: dict[str, Any] = {"statistics.interval.ms": 100, "stats_cb": told.append}
    second = company.join({**LONG, **statistics, "heartbeat.interval.ms": 300})
    company.wait_for(0, 1, readers=[second])  # the first has not read since, and holds both
    third = company.join(LONG)
    wait_for(lambda: company.state(second, third)[0] == "PREPARING_REBALANCING")

    def joins_anew() -> bool:
        second.read(1, 0.05)
        state: str = json.loads(told[-1])["cgrp"]["join_state"]
        return state == "wait-join"

    wait_for(joins_anew)  # it heard that the third came, and waits for the first
    company.leave(second, 0.2)
    assert "did not let the consumer go in 0.2 s" in caplog.text
    company.wait_for(1, 1)
    assert company.members == [first, third]


def test_member_that_is_closed_while_it_joins_does_not_wait_for_a_broker_that_is_gone(
    own_kafka: KafkaServer, t: str, g: str
) -> None:
    with Kafka(own_kafka.address) as kafka:
        kafka.create_topic(t, partitions=2)
        company = Company(kafka, own_kafka.address, t, g)
        member = company.join(settings_of(COOPERATIVE))
        company.wait_for(2)

        def lost_all() -> bool:
            member.read(1, 0.05)
            return not member._handle.assignment()

        def joins_anew() -> bool:  # and waits for the session of who it was to end
            member.read(1, 0.01)
            return bool(member._handle.memberid())

        own_kafka.kill()
        wait_for(lost_all)
        own_kafka.start()
        wait_for(joins_anew)
        company.leave(member, 0.2)
        own_kafka.kill()
        for thread in threading.enumerate():
            if thread.name == "flowdsl-kafka-close":
                thread.join(40.0)  # where there is a broker it waits for a minute to hear what the group deals
                assert not thread.is_alive()


@in_every_protocol
def test_members_that_end_one_after_the_other_have_committed_everything(
    kafka: Kafka, t: str, g: str, protocol: str
) -> None:
    for turn in range(3):
        fill(kafka, f"{t}-{turn}", 8000, partitions=4)
        values: list[int] = []
        source = kafka.source(f"{t}-{turn}", group_id=f"{g}-{turn}", decode=int, settings=settings_of(protocol))
        flow = source | sink(values.append)
        for handle in [flow.start(until="end", timeout=120.0) for _ in range(2)]:
            handle.result(timeout=150.0)
        assert set(values) == set(range(8000))
        assert sum(kafka.lag(f"{g}-{turn}").values()) == 0


def test_last_commit_of_an_older_generation_is_sent_again_in_the_new_one(
    kafka: Kafka, t: str, g: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fill(kafka, t, 8, partitions=4)
    firsts: list[int] = []
    seconds: list[int] = []
    source = kafka.source(t, group_id=g, decode=int, settings={"heartbeat.interval.ms": 3000})
    first = (source | sink(firsts.append)).start(commit=every(seconds=3600), stop_timeout=60.0)
    wait_for(lambda: len(firsts) == 8)
    with (source | sink(seconds.append)).start() as second:
        wait_for(lambda: "revoked" in caplog.text)  # the first asked to join anew, the second will hear of it later
        add(kafka, t, range(8, 16), partitions=4)
        wait_for(lambda: len(firsts) > 8)
        first.stop(timeout=120)
        wait_for(lambda: sum(kafka.lag(g).values()) == 0)
        second.stop(timeout=120)
    assert sorted({*firsts, *seconds}) == list(range(16))
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    slow = "did not let the consumer go"  # on a machine that is busy
    assert [line for line in warnings if slow not in line] == []


def test_log_has_one_line_for_each_thing_that_happens_when_all_is_well(
    kafka: Kafka, t: str, g: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fill(kafka, t, 4000, partitions=2)
    source = kafka.source(t, group_id=g, settings={"heartbeat.interval.ms": 500})
    with (source | sink(lambda _: None)).start(commit=every(seconds=0.1)) as first:
        wait_for(lambda: sum(kafka.committed(g).values()) == 4000)
        with (source | sink(lambda _: None)).start(commit=every(seconds=0.1)) as second:
            assert second.wait_ready(120)
            wait_for(lambda: caplog.text.count(f"assigned: {t}") == 2)
            add(kafka, t, range(4000, 5000), partitions=2)
            wait_for(lambda: sum(kafka.committed(g).values()) == 5000)
            second.stop(timeout=120)
        wait_for(lambda: caplog.text.count(f"assigned: {t}") == 3)
        first.stop(timeout=120)
    lines = [record.getMessage() for record in caplog.records if record.name == "flowdsl"]
    lines = [line for line in lines if "did not let the consumer go" not in line]  # on a machine that is busy
    told = [line.partition(":")[0] for line in lines if line != "assigned: no partitions"]  # it may need two rounds
    told = [word for word in told if not word.startswith(("paused ", "resumed "))]  # a machine that is busy
    assert sorted(told) == ["assigned"] * 3 + ["revoked"] + ["stopped"] * 2
