"""The broker goes away in mid-run: the flow waits with a warning line, goes on, and loses nothing."""

from __future__ import annotations

import logging
import threading
import time
from itertools import pairwise

import pytest
from reactivex.subject import Subject

from flowdsl import BrokerUnreachable, Kafka, every, from_observable, sink, tap
from tests.kafka.helpers import add, answers, fill, wait_for
from tests.kafka.protocols import COOPERATIVE, EAGER, in_every_protocol, settings_of
from tests.kafka.server import OUTAGES, KafkaServer

pytestmark = pytest.mark.slow
OFTEN = every(seconds=0.3)


@in_every_protocol
def test_flow_goes_on_after_a_restart_of_the_broker(
    own_kafka: KafkaServer, t: str, g: str, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Kafka(own_kafka.address) as kafka:
        fill(kafka, t, 100, partitions=2)
        kafka.create_topic(f"{t}-out")
        values: list[int] = []
        source = kafka.source(t, group_id=g, decode=int, settings=settings_of(protocol))
        copy = kafka.source(t, group_id=f"{g}-copy", settings=settings_of(protocol)) | kafka.sink(f"{t}-out")
        with (source | sink(values.append)).start(commit=OFTEN) as seen, copy.start(commit=OFTEN) as copied:
            wait_for(lambda: len(values) >= 100 and copied.stats.delivered >= 100)
            for turn, (down, up) in enumerate(OUTAGES, 1):
                caplog.clear()
                down(own_kafka)
                time.sleep(4.0)
                up(own_kafka)
                wait_for(lambda: answers(kafka, t))
                add(kafka, t, range(100 * turn, 100 * turn + 100), partitions=2)
                wait_for(lambda: set(values) >= set(range(100 * turn + 100)))  # noqa: B023  # waited for in this turn
                wait_for(lambda: sum(kafka.lag(g).values()) == 0 and sum(kafka.lag(f"{g}-copy").values()) == 0)
                told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
                told = [line for line in told if "lost: " not in line]  # sessions end meanwhile
                away = [line for line in told if "cannot be reached" in line]
                hangs = down is KafkaServer.pause  # nobody can tell so soon
                # A broker that begins may say at first that its cluster has none, which is an outage of its own.
                assert 1 <= len(away) <= 2 or (hangs and not away), told
                news = ["answers again" in line for line in caplog.messages if line in away or "answers again" in line]
                assert (False, False) not in pairwise(news), f"one line, of all who read and write: {told}"
                others = [line for line in told if line not in away and "did not let the consumer go" not in line]
                assert all("commit" in line for line in others), told
                assert len(others) <= 4, f"each flow may have had a commit under way, and one after it: {told}"
            for handle in (seen, copied):
                handle.stop(timeout=120)
        assert {int(record.value or b"-1") for record in kafka.read(f"{t}-out")} == set(range(400))


@in_every_protocol
def test_each_outage_of_a_flow_that_has_nothing_to_do_is_told_and_so_is_its_end(
    own_kafka: KafkaServer, t: str, g: str, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def gone() -> int:
        return caplog.text.count("cannot be reached")

    def back() -> int:
        return caplog.text.count("answers again")

    with Kafka(own_kafka.address) as kafka:
        fill(kafka, t, 10)
        with (kafka.source(t, group_id=g, settings=settings_of(protocol)) | sink(print)).start(commit=OFTEN) as handle:
            wait_for(lambda: sum(kafka.committed(g).values()) == 10)
            for turn in (1, 2):
                own_kafka.kill()
                wait_for(lambda: gone() > back())
                own_kafka.start()  # which may say at first that its cluster has no brokers
                wait_for(lambda: turn <= gone() == back())  # noqa: B023  # waited for in this turn
            handle.stop(timeout=120)
    assert gone() <= 6, "two outages, and what a broker that begins adds"


def test_outage_of_a_flow_that_only_writes_is_told_and_so_is_its_end(
    own_kafka: KafkaServer, t: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    values: Subject[bytes] = Subject()
    with Kafka(own_kafka.address) as kafka:
        kafka.create_topic(t)
        with (from_observable(values) | kafka.sink(t)).start() as handle:
            assert handle.wait_ready(120)
            values.on_next(b"0")
            wait_for(lambda: handle.stats.delivered == 1)
            own_kafka.kill()
            wait_for(lambda: "cannot be reached" in caplog.text)
            values.on_next(b"1")
            own_kafka.start()
            wait_for(lambda: "answers again" in caplog.text)
            values.on_completed()
            assert handle.result(timeout=120.0).delivered == 2
        assert caplog.text.count("answers again") <= caplog.text.count("cannot be reached") <= 2
        assert [record.value for record in kafka.read(t)] == [b"0", b"1"]


class Held:
    """Holds the first value, and what is behind it, until it may go on."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, _: bytes) -> None:
        self.begun.set()
        assert self.go_on.wait(120)


def test_record_whose_time_is_up_while_the_broker_hangs_is_not_passed_over(
    own_kafka: KafkaServer, t: str, g: str
) -> None:
    held = Held()

    with Kafka(own_kafka.address) as kafka:
        fill(kafka, t, 10)
        kafka.create_topic(f"{t}-out")
        end = kafka.sink(f"{t}-out", settings={"message.timeout.ms": 2000}, on_error="skip")
        handle = (kafka.source(t, group_id=g) | tap(held) | end).start(commit=OFTEN)
        assert held.begun.wait(120)
        own_kafka.pause()
        held.go_on.set()
        with pytest.raises(BrokerUnreachable, match=f"writing to '{t}-out'"):
            handle.result(timeout=120)
        own_kafka.resume()
        wait_for(lambda: answers(kafka, t))
        assert sum(kafka.committed(g).values()) == 0


@pytest.mark.parametrize("protocol", [EAGER, COOPERATIVE])
def test_what_waits_for_a_broker_that_hangs_is_not_written_once_the_session_is_over(
    own_kafka: KafkaServer, t: str, g: str, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one_by_one = {"max.in.flight.requests.per.connection": 1, "batch.num.messages": 10}
    held = Held()

    with Kafka(own_kafka.address) as kafka:
        fill(kafka, t, 1000)
        kafka.create_topic(f"{t}-out")
        source = kafka.source(t, group_id=g, settings=settings_of(protocol))
        with (source | tap(held) | kafka.sink(f"{t}-out", settings=one_by_one)).start(commit=OFTEN) as handle:
            assert held.begun.wait(120)
            own_kafka.pause()
            held.go_on.set()
            wait_for(lambda: "lost: " in caplog.text)
            own_kafka.resume()
            wait_for(lambda: answers(kafka, t))
            wait_for(lambda: kafka.committed(g) and sum(kafka.lag(g).values()) == 0)
            handle.stop(timeout=120)
        written = [int(record.value or b"-1") for record in kafka.read(f"{t}-out")]
    assert set(written) == set(range(1000))
    begun_at = [at for at, value in enumerate(written) if value == 0]
    assert not begun_at[1:] or begun_at[1] <= 10, "all again, and before that the one request that was on its way"
