"""A client of librdkafka that is told its servers again."""

from __future__ import annotations

import contextlib
import gc
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, cimpl
from confluent_kafka.admin import AdminClient

from flowdsl import BrokerUnreachable, Kafka
from flowdsl.brokers.kafka import bootstrap as module
from flowdsl.brokers.kafka import client, topics
from flowdsl.brokers.kafka.asking import IN_TURN
from flowdsl.brokers.kafka.bootstrap import AGAIN, LONGEST_REST, Bootstrap, Handle
from flowdsl.brokers.kafka.topics import Describer
from flowdsl.brokers.kafka.weather import Weather
from flowdsl.testing import VirtualClock

SERVERS = "127.0.0.1:1"
NOWHERE: dict[str, str | int | float | bool] = {"bootstrap.servers": SERVERS, "log_level": 0}
CANONICAL = {"client.dns.lookup": "resolve_canonical_bootstrap_servers_only"}
DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN)

HANDLES: tuple[Callable[[], Handle], ...] = (
    lambda: Producer(NOWHERE),
    lambda: Consumer({**NOWHERE, "group.id": "g"}),
    lambda: AdminClient(NOWHERE),
)
can_be_told = pytest.mark.skipif(module._add is None, reason="librdkafka cannot be called here, or needs not be")
HANDLE: Any = object()
"""Of a client that nobody looks at."""


class Noting(Bootstrap):
    """Notes when its client is told, by a clock that begins with 0."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        super().__init__(SERVERS, {}, self.clock)
        self.told: list[float] = []

    def tell(self, handle: Handle) -> None:
        assert handle is HANDLE
        self.told.append(self.clock())

    def live(self, seconds: float, *, asking: bool = False) -> None:
        """Let it be served, and perhaps asked in vain, four times a second."""
        for _ in range(int(seconds * 4)):
            self.serve(HANDLE)
            if asking:
                self.not_answered(HANDLE)
            self.clock.advance(0.25)


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A port where somebody waits for a client."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60.0)
        yield server


@can_be_told
@pytest.mark.parametrize("make", HANDLES)
def test_client_connects_to_the_servers_that_it_is_told(make: Callable[[], Handle]) -> None:
    with listening() as server:
        handle = make()
        Bootstrap(f"127.0.0.1:{server.getsockname()[1]}", {}).tell(handle)
        connection, _ = server.accept()
        connection.close()


@can_be_told
def test_client_is_told_nothing_where_its_names_have_to_be_canonical_or_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[bytes] = []
    monkeypatch.setattr(module, "_add", lambda _, servers: told.append(servers))
    producer, closed = Producer(NOWHERE), Consumer({**NOWHERE, "group.id": "g"})
    closed.close()
    ending = Bootstrap(SERVERS, {})
    Weather(None, bootstrap=ending).closes()
    ending.tell(producer)
    Bootstrap(SERVERS, {}).tell(closed)
    Bootstrap(SERVERS, CANONICAL).tell(producer)
    assert told == []
    Bootstrap(SERVERS, {}).tell(producer)
    assert told == [SERVERS.encode()]


def test_nothing_is_done_where_librdkafka_cannot_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_add", None)
    Bootstrap(SERVERS, {}).tell(HANDLE)


@pytest.mark.parametrize(("ours", "theirs"), [("2.17.0", "2.16.0"), ("2.16.0", "2.17.0"), ("2.9.0", "2.9.0")])
def test_librdkafka_is_not_called_in_versions_that_are_not_known(
    monkeypatch: pytest.MonkeyPatch, ours: str, theirs: str
) -> None:
    monkeypatch.setattr(cimpl, "version", lambda: ours)
    monkeypatch.setattr(cimpl, "libversion", lambda: (theirs, 0))
    assert module._found() is None


def test_client_is_told_a_few_times_after_its_last_broker_went_down() -> None:
    bootstrap = Noting()
    bootstrap.live(5.0)
    bootstrap.all_down()
    bootstrap.live(100.0)
    assert bootstrap.told == [5.0 + seconds for seconds in AGAIN]
    bootstrap.told.clear()
    bootstrap.all_down()
    bootstrap.live(2.0)
    bootstrap.all_down()
    bootstrap.live(2.0)
    assert bootstrap.told == [106.0, 108.0], "each outage begins anew"


def test_client_that_is_asked_in_vain_is_told_less_and_less_often_until_it_answers() -> None:
    bootstrap = Noting()
    bootstrap.live(40.0, asking=True)
    assert bootstrap.told == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]
    bootstrap.live(1000.0, asking=True)
    assert bootstrap.told[-1] - bootstrap.told[-2] == LONGEST_REST
    bootstrap.answered()
    bootstrap.clock.advance(LONGEST_REST)
    bootstrap.told.clear()
    bootstrap.live(2.0, asking=True)
    assert len(bootstrap.told) == 2


def test_client_that_says_that_all_brokers_are_down_is_told_whatever_was_heard_since() -> None:
    """What comes next may have been read before."""
    bootstrap = Noting()
    weather = Weather(None, bootstrap=bootstrap)
    weather(DOWN)
    weather.came_back()
    bootstrap.clock.advance(1.0)
    weather.serve(HANDLE)
    assert bootstrap.told == [1.0]


def test_producer_that_is_polled_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Handle] = []
    monkeypatch.setattr(module, "AGAIN", (0.0,))
    monkeypatch.setattr(Bootstrap, "tell", lambda _, handle: told.append(handle))
    with Kafka(SERVERS) as nobody:
        producer: Any = nobody.client.producer()
        end = time.monotonic() + 60.0
        while not told:
            assert time.monotonic() < end
            producer.poll(0.05)
        assert told[0] is producer._handle
        told.clear()
        producer.close(0.0)


def test_client_that_makes_topics_is_told_while_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Handle] = []
    monkeypatch.setattr(client, "ATTEMPT", 0.1)
    monkeypatch.setattr(client, "PATIENCE", 0.2)
    monkeypatch.setattr(Bootstrap, "tell", lambda _, handle: told.append(handle))
    with Kafka(SERVERS) as nobody, pytest.raises(BrokerUnreachable, match="making topic 'orders'"):
        nobody.create_topic("orders")
    assert [type(handle) for handle in told] == [AdminClient]


TASKS = Path("/proc/self/task")


@pytest.mark.skipif(not TASKS.exists(), reason="threads are counted as Linux does")
def test_client_ends_with_its_close_and_waits_for_no_collector_of_garbage() -> None:
    def threads() -> int:
        return len(list(TASKS.iterdir()))

    with Kafka(SERVERS) as nobody:
        nobody.client.consumer(group_id=None).close(10.0)  # with the administrator that looks at topics for all
        gc.collect()
        gc.disable()
        try:
            before = threads()
            for _ in range(5):
                nobody.client.producer().close(0.0)
                nobody.client.consumer(group_id=None).close(10.0)
            end = time.monotonic() + 60.0
            while threads() > before:
                assert time.monotonic() < end, f"{threads()} threads instead of {before}"
                time.sleep(0.05)
        finally:
            gc.enable()


class Described:
    """The handle of an administrator, with answers of its own."""

    def __init__(self, *answers: Future[Any]) -> None:
        self._answers = list(answers)

    def describe_topics(self, _: object) -> dict[str, Future[Any]]:
        return {"orders": self._answers.pop(0)}


def answer(error: BaseException | None) -> Future[Any]:
    future: Future[Any] = Future()
    if error is None:
        future.set_result("orders")
    else:
        future.set_exception(error)
    return future


def failed(code: int) -> Future[Any]:
    return answer(KafkaException(KafkaError(code)))


@pytest.mark.parametrize(
    ("answered", "times"),
    [
        (Future(), 1),
        (failed(KafkaError._TRANSPORT), 1),
        (failed(KafkaError.UNKNOWN_TOPIC_OR_PART), 0),
        (answer(None), 0),
    ],
)
def test_client_that_describes_topics_is_told_where_it_got_no_answer_in_time(
    answered: Future[Any], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Handle] = []
    monkeypatch.setattr(topics, "SYSTEM_CLOCK", clock := VirtualClock())
    monkeypatch.setattr(Bootstrap, "tell", lambda _, handle: told.append(handle))
    handle: Any = Described(answered, Future(), Future())
    describe = Describer(handle, Bootstrap(SERVERS, {}))
    describe(["orders"])
    clock.advance(IN_TURN)
    describe(["orders"])
    assert told == [handle] * times
    describe(["orders"])
    assert told == [handle] * times, "it was asked only just now"
