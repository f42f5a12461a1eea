"""The face of brokers: what people do by hand, and what is refused at construction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowdsl import INHERIT, JSON, TEXT, Kafka, LocalBroker, connect, from_iterable, last, merge, to_list
from flowdsl.errors import BrokerError, DeliveryFailed, FlowDefinitionError, TopicNotFound
from flowdsl.flow.broker import kafka_address
from flowdsl.operators.source import BrokerSource
from flowdsl.types import KafkaPayload, Partition, Topic

FIVE_AND_VALUE: tuple[Any, ...] = (5, b"v")
TEXT_AS_TOPIC: tuple[Any, ...] = ("t", 0)
TEXT_AS_INDEX: tuple[Any, ...] = (Topic("t"), "0")
BYTES_AS_NAME: tuple[Any, ...] = (b"t",)
NONE_AND_FIVE: tuple[Any, ...] = (None, 5)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as made:
        yield made


# -- writing and reading --------------------------------------------------------------------------------------------------


def test_first_write_makes_the_topic() -> None:
    broker = LocalBroker(partitions=3)
    assert broker.write("t", ["a", b"b", None]) == 3
    assert broker.topics() == {"t": 3}


def test_every_part_may_be_a_function_of_the_value(broker: LocalBroker) -> None:
    broker.create_topic("odd", partitions=4)
    broker.create_topic("even", partitions=4)
    written = broker.write(
        lambda value: "odd" if value["n"] % 2 else "even",
        [{"n": 1}, {"n": 2}],
        key=lambda value: str(value["n"]),
        headers=lambda value: [("n", b"%d" % value["n"])],
        timestamp=lambda value: NOON.replace(minute=value["n"]),
        partition=lambda value: value["n"],
        encode=JSON,
    )
    assert written == 2
    (odd,), (even,) = broker.read("odd", decode=JSON), broker.read("even", decode=JSON)
    assert (odd.partition, odd.key, odd.value, odd.headers) == (1, b"1", {"n": 1}, (("n", b"1"),))
    assert (even.partition, even.key, even.timestamp) == (2, b"2", NOON.replace(minute=2))


def test_none_is_a_tombstone_that_no_codec_sees(broker: LocalBroker) -> None:
    broker.write("t", [{"a": 1}, None], key="k", encode=JSON)
    assert [record.value for record in broker.read("t", decode=JSON)] == [{"a": 1}, None]


def test_many_values_are_written_in_order_and_without_being_held(broker: LocalBroker) -> None:
    assert broker.write("t", (str(number) for number in range(2500))) == 2500
    assert [record.value for record in broker.read("t", decode=TEXT)] == [str(number) for number in range(2500)]


def test_write_to_a_partition_that_does_not_exist_fails_and_says_which_record(broker: LocalBroker) -> None:
    with pytest.raises(DeliveryFailed, match=r"2 of 3 .*number 1: .*'t' has 1 partitions.*number 7"):
        broker.write("t", ["a", "b", "c"], partition=lambda value: 0 if value == "a" else 7)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"values": [{"a": 1}]}, "value.*encode="),
        ({"values": ["a"], "key": lambda _: 5}, "key.*5"),
        ({"values": ["a"], "headers": lambda _: 5}, "headers.*5"),
        ({"values": ["a"], "headers": lambda _: ["ab"]}, "headers.*ab"),
        ({"values": ["a"], "headers": lambda _: [("h", 5)]}, "header"),
        ({"values": ["a"], "timestamp": lambda _: 5}, "timestamp.*5"),
        ({"values": ["a"], "timestamp": datetime(2024, 1, 1)}, "timestamp.*time zone"),  # noqa: DTZ001  # what is refused
        ({"values": ["a"], "partition": lambda _: "1"}, "partition.*'1'"),
        ({"values": ["a"], "partition": -1}, "partition.*-1"),
        ({"values": ["a"], "encode": 5}, "encode.*5"),
        ({"values": "abc"}, "values.*'abc'"),
        ({"values": 5}, "values.*5"),
        ({"values": None}, "values.*None"),
        ({"values": from_iterable([1])}, r"values.*from_iterable.*broker\.sink"),
        ({"values": [], "key": 5}, "key.*5"),
        ({"values": [], "key": INHERIT}, "key.*INHERIT"),
        ({"values": [], "headers": {"ab": b"1"}}, "headers.*ab"),
        ({"values": [], "headers": INHERIT}, "headers.*INHERIT"),
        ({"values": [], "timestamp": INHERIT}, "timestamp.*INHERIT"),
        ({"values": [], "timestamp": "noon"}, "timestamp.*'noon'"),
        ({"values": [], "partition": "0"}, "partition.*'0'"),
        ({"values": ["a"], "topic": ""}, "topic.*''"),
        ({"values": ["a"], "topic": "a b"}, "topic.*'a b'"),
        ({"values": ["a"], "topic": lambda _: None}, "topic.*None"),
    ],
)
def test_wrong_arguments_of_write_are_named(broker: LocalBroker, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        broker.write(**{"topic": "t", **arguments})


def test_headers_that_can_be_read_once_are_on_every_record(broker: LocalBroker) -> None:
    once: Any = iter([("h", "1")])
    broker.write("t", ["a", "b"], headers=once)
    assert [record.headers for record in broker.read("t")] == [(("h", b"1"),)] * 2


def test_value_that_cannot_be_decoded_is_named(broker: LocalBroker) -> None:
    broker.write("t", ["1", "x"])
    with pytest.raises(ValueError) as raised:
        broker.read("t", decode=int)
    assert raised.value.__notes__ == ["decode was given the value of t[0] offset 1."]


def test_value_that_fails_midway_says_how_many_were_written(broker: LocalBroker) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        broker.write("t", [1, 2, 0, 4], encode=lambda value: str(1 // value))
    assert raised.value.__notes__ == ["2 values before this one were written."]
    assert len(broker.read("t")) == 2


def test_read_takes_what_is_there_from_start(broker: LocalBroker) -> None:
    broker.write("t", ["a", "b", "c"])
    assert [record.value for record in broker.read("t", start=last(2))] == [b"b", b"c"]
    assert broker.read("t", start="latest") == []
    assert len(broker.read("t", count=1)) == 1
    with pytest.raises(ValueError, match=r"count.*0"):
        broker.read("t", count=0)
    begin: Any = "first"
    with pytest.raises(ValueError, match=r"start.*'first'"):
        broker.read("t", start=begin)


def test_two_brokers_share_nothing() -> None:
    one, other = LocalBroker(), LocalBroker()
    one.write("t", ["a"])
    assert other.topics() == {}
    with pytest.raises(TopicNotFound, match=r"no topics yet"):
        other.read("t")


def test_closed_broker_says_so() -> None:
    with LocalBroker() as broker:
        broker.write("t", ["a"])
    with pytest.raises(BrokerError, match=r"closed"):
        broker.write("t", ["a"])


# -- consumers and producers ------------------------------------------------------------------------------------------------


def test_produced_record_is_acknowledged_through_its_future(broker: LocalBroker) -> None:
    future = broker.producer().produce(Topic("t"), KafkaPayload(b"k", b"v", [("h", b"1")]))
    value = future.result(timeout=10)
    assert (value.partition, value.offset) == (Partition(Topic("t"), 0), 0)
    (record,) = broker.read("t")
    assert (record.key, record.value, record.headers) == (b"k", b"v", (("h", b"1"),))


def test_produced_texts_become_utf_8(broker: LocalBroker) -> None:
    texts: tuple[Any, ...] = ("ü", "ö", [("h", "ä")])
    written = broker.producer().produce(Topic("t"), KafkaPayload(*texts)).result(timeout=10).payload
    assert written == KafkaPayload("ü".encode(), "ö".encode(), (("h", "ä".encode()),))


def test_consumer_takes_part_in_its_group(broker: LocalBroker) -> None:
    consumer = broker.consumer(group_id="g", settings={"max.poll.interval.ms": 6000})
    assert (consumer.commits, consumer.poll_interval) == (True, 6.0)
    assert not broker.consumer(group_id=None).commits


# -- sources and sinks ------------------------------------------------------------------------------------------------------


def test_source_is_a_flow_that_compares_by_what_was_given(broker: LocalBroker) -> None:
    assert broker.source("t", group_id="g") == broker.source(["t"], group_id="g")
    assert broker.source("t", group_id="g") != broker.source("t", group_id="h")
    assert broker.source("t") != LocalBroker().source("t")


def test_nothing_connects_before_a_flow_runs(broker: LocalBroker) -> None:
    _ = broker.source("nowhere", group_id="g") | broker.sink("elsewhere")
    assert broker.topics() == {}


def test_source_remembers_what_was_said(broker: LocalBroker) -> None:
    pattern = re.compile("a.*")
    node = broker.source(pattern, group_id="g", start=NOON, tombstones="keep", on_gap="earliest", name="in").plan.source
    assert isinstance(node, BrokerSource)
    assert (node.topics, node.group_id, node.start) == (pattern, "g", NOON)
    assert (node.tombstones, node.on_gap, node.name, node.client) == ("keep", "earliest", "in", broker.client)
    assert node.where.file == __file__


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"topics": ""}, "topics.*''"),
        ({"topics": "web.*"}, r"topics.*re\.compile\('web\.\*'\)"),
        ({"topics": []}, r"topics.*\[\]"),
        ({"topics": ["a", 5]}, "topics.*5"),
        ({"topics": 5}, "topics.*5"),
        ({"topics": re.compile(b"a")}, "topics.*bytes"),
        ({"group_id": ""}, "group_id.*''"),
        ({"group_id": 5}, "group_id.*5"),
        ({"decode": 5}, "decode.*5"),
        ({"start": "first"}, "start.*'first'"),
        ({"start": datetime(2024, 1, 1)}, "start.*time zone"),  # noqa: DTZ001  # what is refused
        ({"start": 5}, "start.*5"),
        ({"tombstones": "drop"}, "tombstones.*'drop'"),
        ({"on_gap": "latest"}, "on_gap.*'latest'"),
        ({"settings": {"group.id": "x"}}, "group.id.*group_id="),
        ({"settings": {"fetch.min": 1}}, "fetch.min"),
        ({"settings": 5}, "settings.*5"),
        ({"name": ""}, "name"),
    ],
)
def test_wrong_arguments_of_source_are_named(broker: LocalBroker, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        broker.source(**{"topics": "t", **arguments})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"topic": ""}, "topic.*''"),
        ({"topic": 5}, "topic.*5"),
        ({"key": 5}, "key.*5"),
        ({"headers": 5}, "headers.*5"),
        ({"headers": {"ab": b"1"}}, "headers.*ab"),
        ({"headers": ["ab"]}, "headers.*ab"),
        ({"topic": "a b"}, "topic.*'a b'"),
        ({"timestamp": 5}, "timestamp.*5"),
        ({"timestamp": datetime(2024, 1, 1)}, "timestamp.*time zone"),  # noqa: DTZ001  # what is refused
        ({"partition": -1}, "partition.*-1"),
        ({"partition": True}, "partition.*True"),
        ({"encode": 5}, "encode.*5"),
        ({"settings": {"acks": "1"}}, "acks"),
    ],
)
def test_wrong_arguments_of_sink_are_named(broker: LocalBroker, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        broker.sink(**{"topic": "t", **arguments})


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda broker: broker.create_topic("a b"), "name.*'a b'"),
        (lambda broker: broker.create_topic("t", partitions=0), "partitions.*0"),
        (lambda broker: broker.create_topic("t", partitions=True), "partitions.*True"),
        (lambda broker: broker.create_topic("t", replication=0), "replication.*0"),
        (lambda broker: broker.create_topic("t", settings=5), "settings.*5"),
        (lambda broker: broker.create_topic("t", settings={5: "1"}), "settings.*5"),
        (lambda broker: broker.producer().produce("t", KafkaPayload(None, b"v")), "destination.*'t'"),
        (lambda broker: broker.producer().produce(Topic("t"), b"v"), "payload.*b'v'"),
        (lambda _: Partition(*TEXT_AS_TOPIC), "topic.*'t'"),
        (lambda _: Partition(*TEXT_AS_INDEX), "index.*'0'"),
        (lambda _: Topic(*BYTES_AS_NAME), "name.*b't'"),
        (lambda broker: broker.producer().produce(Topic("t"), KafkaPayload(*FIVE_AND_VALUE)), "key.*5"),
        (lambda broker: broker.producer().produce(Topic("t"), KafkaPayload(*NONE_AND_FIVE)), "value.*5"),
        (lambda broker: broker.read("t", decode=5), "decode.*5"),
        (lambda broker: broker.committed(""), "group_id.*''"),
        (lambda broker: broker.lag(None), "group_id.*None"),
        (lambda broker: broker.consumer(group_id=""), "group_id.*''"),
        (lambda broker: broker.consumer(group_id="g", start="x"), "start.*'x'"),
        (lambda broker: broker.producer(settings={"acks": 0}), "acks"),
        (lambda _: LocalBroker(partitions=0), "partitions.*0"),
    ],
)
def test_wrong_arguments_by_hand_are_named(broker: LocalBroker, call: Callable[[Any], Any], named: str) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        call(broker)


def test_pattern_that_matches_nothing_is_not_found_by_a_run_with_an_end(broker: LocalBroker) -> None:
    broker.write("orders", ["a"])
    flow = broker.source(re.compile("order"), group_id="g") | to_list()
    moments: list[Any] = ["end", datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1)]
    for until in moments:
        with pytest.raises(TopicNotFound, match=r"pattern 'order'; it has: orders"):
            flow.run(until=until)
    with pytest.raises(TopicNotFound, match=r"pattern 'order'"):
        flow.start(until="end").result(timeout=10)
    with pytest.raises(TopicNotFound, match=r"pattern 'order'"):
        (merge(broker.source("orders"), broker.source(re.compile("order"))) | to_list()).run(until="end")
    assert flow.run(timeout=0.05) == []
    assert (broker.source(re.compile("order.*")) | to_list()).run(until="end") == [b"a"]


def test_values_of_settings_are_never_shown(broker: LocalBroker) -> None:
    secret = {"sasl.password": "hunter2", "sasl.username": "me"}
    source, end = broker.source("a", settings=secret), broker.sink("b", settings=secret)
    assert repr(source) == "source('a', settings={'sasl.password': ..., 'sasl.username': ...})"
    with pytest.raises(FlowDefinitionError, match=r"settings differs?") as raised:
        merge(source, broker.source("b", settings={"sasl.password": "hunter3"}))
    with pytest.raises(TypeError, match=r"settings must be a mapping") as refused:
        broker.source("a", settings=list(secret.items()))  # type: ignore[call-overload]  # what is refused
    told = [repr(end), repr(source | end), (source | end).explain(), str(raised.value), str(refused.value)]
    assert not any("hunter" in text for text in told)


# -- connect ------------------------------------------------------------------------------------------------------------------


def test_connect_gives_an_embedded_broker_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWDSL_BROKER", raising=False)
    for broker in (connect(), connect("local:")):
        assert isinstance(broker, LocalBroker)
    connect("local:").write("t", ["a"])
    assert connect("local:").topics() == {}


def test_connect_asks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWDSL_BROKER", "local:")
    assert isinstance(connect(), LocalBroker)
    monkeypatch.setenv("FLOWDSL_BROKER", "redis://x")
    with pytest.raises(ValueError, match=r"\$FLOWDSL_BROKER.*redis://x"):
        connect()
    assert isinstance(connect("local:"), LocalBroker)


def test_connect_to_a_kafka_reaches_for_nothing_yet() -> None:
    broker = connect("kafka://a:9092,b:9093?client.id=billing")
    assert repr(broker) == "<Kafka at a:9092,b:9093>"
    assert broker.source("t") == broker.source("t")


@pytest.mark.parametrize("servers", ["", "a b", "a:9092,", "user:hunter2@a:9092", "a:x", "http://"])
def test_addresses_that_are_none_are_refused(servers: str) -> None:
    with pytest.raises(ValueError, match="bootstrap_servers") as raised:
        Kafka(servers)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"fetch.min.byte": 1}, r"'fetch.min.byte'.*'fetch.min.bytes'"),
        ({"enable.auto.commit": True}, "enable.auto.commit.*refused"),
        ({"bootstrap.servers": "b:1"}, "bootstrap.servers.*first argument"),
        ({"acks": "1"}, "acks.*all"),
        ({"transactional.id": "x"}, "transactional.id.*refused"),
        ({"fetch.wait.max.ms": "soon"}, "fetch.wait.max.ms"),
        ({"security.protocol": "TLS"}, "security.protocol"),
        ({"max.in.flight": 50}, "max.in.flight"),
        ({"group.protocol": "consumer", "session.timeout.ms": 6000}, "session.timeout.ms.*broker"),
        ({"sasl.password": "hunter2", "sasl.mechanism": "hunter2", "security.protocol": "SASL_PLAINTEXT"}, r"\*\*\*"),
    ],
)
def test_settings_that_kafka_refuses_are_named_at_once(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named) as raised:
        Kafka("a:9092", settings)
    assert "hunter2" not in str(raised.value)


def test_callables_are_settings_too_and_are_not_called_yet() -> None:
    calls: list[object] = []
    Kafka("a:9092", {"oauth_cb": calls.append, "sasl.mechanism": "OAUTHBEARER", "security.protocol": "SASL_SSL"})
    Kafka("a:9092", {"stats_cb": calls.append, "statistics.interval.ms": 1, "error_cb": calls.append})
    assert calls == []


@pytest.mark.parametrize(
    "url", ["", "local", "locale:", "http://x", "kafka:", "kafka://", "kafka://a:1,,b:2", "kafka://a:1/path"]
)
def test_connect_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"kafka://host:9092"):
        connect(url)


@pytest.mark.parametrize(
    ("query", "settings"),
    [
        ("", {}),
        ("client.id=", {"client.id": ""}),
        ("client.id=a=b", {"client.id": "a=b"}),
        ("client.id=a+b&sasl.password=%26%C3%A9%zz", {"client.id": "a b", "sasl.password": "&é%zz"}),
    ],
)
def test_settings_in_an_address_are_written_as_urls_write_them(query: str, settings: dict[str, str]) -> None:
    assert kafka_address(f"kafka://a:9092/?{query}") == ("a:9092", settings)


def test_connect_refuses_misspelt_settings() -> None:
    with pytest.raises(ValueError, match=r"'security.protocl'.*'security.protocol'"):
        connect("kafka://a:9092?security.protocl=SSL")


def test_secrets_in_a_url_are_not_shown() -> None:
    for url in ("kafka://user:hunter2@a:9092", "redis://user:hunter2@a", "redis://a?sasl.password=hunter2"):
        with pytest.raises(ValueError) as raised:
            connect(url)
        assert "hunter2" not in str(raised.value)
