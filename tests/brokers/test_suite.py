"""What every broker must do. Written against the protocols and the face: a broker is added as a parameter."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowdsl import from_iterable
from flowdsl.brokers.partitioner import partition_of
from flowdsl.brokers.protocols import Delivery, Last, Outgoing
from flowdsl.errors import BrokerError, DeliveryFailed, OffsetOutOfRange, TopicNotFound
from flowdsl.flow.face import Broker
from flowdsl.types import KafkaPayload, Partition, Topic
from tests.kafka.helpers import NOON, PATIENCE

Join = Callable[..., Any]


def until(readers: list[Any], condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Let the readers take turns until the condition holds; fails when it does not come to hold."""
    end = time.monotonic() + seconds
    while not condition():
        time.sleep(0 if readers else 0.05)
        assert time.monotonic() < end, [(reader.told, len(reader.values)) for reader in readers]
        for reader in readers:
            reader.read(timeout=0.01)


def at(topic: str, index: int = 0) -> Partition:
    return Partition(Topic(topic), index)


def outgoing(value: bytes | None, topic: str = "t", partition: int | None = None) -> Outgoing:
    return Outgoing(topic, partition, None, value, (), None)


# -- topics ---------------------------------------------------------------------------------------------------------


def test_topics_tell_their_number_of_partitions(broker: Broker, t: str) -> None:
    broker.create_topic(f"{t}-b", partitions=3)
    broker.create_topic(f"{t}-a")
    mine = {name: partitions for name, partitions in broker.topics().items() if name.startswith(t)}
    assert mine == {f"{t}-a": 1, f"{t}-b": 3}


def test_topic_that_exists_is_taken_as_it_is_or_refused(broker: Broker, t: str) -> None:
    broker.create_topic(t, partitions=3)
    broker.create_topic(t, partitions=5)
    assert broker.topics()[t] == 3
    with pytest.raises(BrokerError, match=f"'{t}'"):
        broker.create_topic(t, exist_ok=False)


def test_deleted_topic_is_gone(broker: Broker, t: str) -> None:
    broker.create_topic(t)
    broker.delete_topic(t)
    until([], lambda: t not in broker.topics())
    with pytest.raises(TopicNotFound, match=f"'{t}'"):
        broker.delete_topic(t)


def test_unknown_topic_names_those_that_exist_and_is_not_made(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(f"{t}-orders")
    with pytest.raises(TopicNotFound, match=rf"'{t}-order'.*{t}-orders.*mean '{t}-orders'"):
        join(f"{t}-order")
    with pytest.raises(TopicNotFound):
        broker.read(f"{t}-order")
    assert f"{t}-order" not in broker.topics()


# -- records --------------------------------------------------------------------------------------------------------


def test_record_comes_back_with_all_its_parts(broker: Broker, t: str) -> None:
    broker.create_topic(t, partitions=3)
    written = broker.write(t, ["v"], key="k", headers=[("h", b"1"), ("h", None)], timestamp=NOON, partition=2)
    (record,) = broker.read(t)
    assert written == 1
    assert (record.topic, record.partition, record.offset) == (t, 2, 0)
    assert (record.key, record.value, record.timestamp) == (b"k", b"v", NOON)
    assert record.headers == (("h", b"1"), ("h", None))


def test_record_without_timestamp_gets_that_of_its_writing(broker: Broker, t: str) -> None:
    before = datetime.now(UTC) - timedelta(minutes=5)
    broker.create_topic(t)
    broker.write(t, ["v"])
    (record,) = broker.read(t)
    assert record.timestamp is not None
    assert record.timestamp.utcoffset() == timedelta(0)
    assert before < record.timestamp < before + timedelta(minutes=10)


def test_tombstone_stays_null_and_differs_from_an_empty_value(broker: Broker, t: str) -> None:
    broker.create_topic(t)
    broker.write(t, [None, b""], key="k")
    assert [record.value for record in broker.read(t)] == [None, b""]


def test_keys_go_where_java_clients_put_them(broker: Broker, t: str) -> None:
    broker.create_topic(t, partitions=5)
    keys = [f"customer-{number}" for number in range(40)]
    broker.write(t, keys, key=lambda key: key)
    places = {record.value: record.partition for record in broker.read(t)}
    assert places == {key.encode(): partition_of(key.encode(), 5) for key in keys}


def test_reading_is_in_the_order_of_partition_and_offset_up_to_count(broker: Broker, t: str) -> None:
    broker.create_topic(t, partitions=3)
    broker.write(t, [str(number) for number in range(30)], partition=lambda value: int(value) % 3)
    everything = [(record.partition, record.offset) for record in broker.read(t)]
    assert everything == [(partition, offset) for partition in range(3) for offset in range(10)]
    assert [(record.partition, record.offset) for record in broker.read(t, count=12)] == everything[:12]


@pytest.mark.parametrize(
    ("start", "values"),
    [
        ("earliest", [b"0", b"1", b"2", b"3"]),
        ("latest", []),
        (Last(1), [b"3"]),
        (Last(99), [b"0", b"1", b"2", b"3"]),
        (NOON + timedelta(hours=2), [b"2", b"3"]),
        (NOON + timedelta(hours=1, seconds=1), [b"2", b"3"]),
        (NOON + timedelta(days=9), []),
    ],
)
def test_reading_begins_at_start(broker: Broker, start: Any, values: list[bytes], t: str) -> None:
    broker.create_topic(t)
    broker.write(t, ["0", "1", "2", "3"], timestamp=lambda value: NOON + timedelta(hours=int(value)))
    assert [record.value for record in broker.read(t, start=start)] == values


def test_decoded_record_keeps_its_tombstones(broker: Broker, t: str) -> None:
    broker.create_topic(t)
    broker.write(t, [b"1", None])
    assert [record.value for record in broker.read(t, decode=int)] == [1, None]


def test_producer_reports_each_record_by_its_index(broker: Broker, t: str) -> None:
    broker.create_topic(t, partitions=1)
    producer = broker.producer()
    delivery = Delivery()
    assert producer.send([outgoing(b"a", t), outgoing(b"b", t), outgoing(b"c", t, 7)], delivery, first=10) == 3
    for _ in range(200):
        producer.poll(0.1)
        if not delivery.waiting:
            break
    assert list(delivery.failed) == [12]
    assert isinstance(delivery.failed[12], DeliveryFailed)
    producer.close(5.0)
    assert [record.value for record in broker.read(t)] == [b"a", b"b"]


def test_partition_that_is_not_there_is_told_before_anything_is_sent(broker: Broker, t: str) -> None:
    broker.create_topic(t, partitions=2)
    flow = from_iterable([b"a", b"b"]) | broker.sink(t, partition=2, on_error="skip")
    with pytest.raises(DeliveryFailed, match=f"'{t}' has 2 partitions, and none with the number 2"):
        flow.run()
    with pytest.raises(DeliveryFailed, match=f"'{t}' has 2 partitions, and none with the number 2"):
        broker.write(t, ["a"], partition=2)
    assert (from_iterable([b"a", b"b"]) | broker.sink(t, partition=1)).run().delivered == 2
    assert [(record.partition, record.value) for record in broker.read(t)] == [(1, b"a"), (1, b"b")]


def test_future_of_a_produced_record_tells_where_it_is(broker: Broker, t: str) -> None:
    broker.create_topic(t, partitions=2)
    producer = broker.producer()
    futures = [producer.produce(at(t, 1), KafkaPayload(b"k", value, [("h", b"x")])) for value in (b"a", None)]
    producer.close(10.0)
    assert [(future.result().partition, future.result().offset) for future in futures] == [
        (at(t, 1), 0),
        (at(t, 1), 1),
    ]
    assert [record.value for record in broker.read(t)] == [b"a", None]


# -- reading without a group ------------------------------------------------------------------------------------------


def test_reader_without_group_gets_all_partitions_and_commits_nothing(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=3)
    broker.write(t, map(str, range(9)))
    first, second = join(t, None), join(t, None)
    until([first, second], lambda: len(first.values) == len(second.values) == 9)
    assert not first.consumer.commits
    assert sorted(first.owned) == [at(t, index) for index in range(3)]


def test_paused_partition_gives_nothing_until_resumed(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=1)
    reader = join(t, None)
    until([reader], lambda: bool(reader.owned))
    reader.consumer.pause([at(t)])
    broker.write(t, ["a"])
    assert [reader.read(timeout=0.05) for _ in range(3)] == [[], [], []]
    reader.consumer.resume([at(t)])
    until([reader], lambda: reader.values == [b"a"])


def test_seek_goes_back_and_forth(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=1)
    broker.write(t, ["0", "1", "2"])
    reader = join(t, None)
    until([reader], lambda: len(reader.values) == 3)
    reader.consumer.seek({at(t): 1, at("other"): 5})
    until([reader], lambda: len(reader.values) == 5)
    assert reader.seen[3:] == [(at(t), 1), (at(t), 2)]


def test_reads_keep_to_their_limit(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=2)
    broker.write(t, map(str, range(100)))
    reader = join(t, None)
    sizes: list[int] = []

    def all_is_read() -> bool:
        sizes.append(len(reader.read(limit=7, timeout=0.05)))
        return len(reader.values) == 100

    until([], all_is_read)
    assert max(sizes) == 7


def test_ends_and_offsets_at_cover_all_partitions_of_the_topics(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=2)
    broker.write(t, ["0", "1", "2"], partition=1, timestamp=lambda value: NOON + timedelta(hours=int(value)))
    reader = join(t)
    assert dict(reader.consumer.ends()) == {at(t, 0): 0, at(t, 1): 3}
    assert dict(reader.consumer.offsets_at(NOON + timedelta(minutes=90))) == {at(t, 0): 0, at(t, 1): 2}


def test_single_poll_gives_a_broker_value(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=1)
    broker.write(t, ["v"], key="k", headers=[("h", b"x")], timestamp=NOON)
    reader = join(t)
    polled: list[Any] = []

    def has_come() -> bool:
        polled.append(reader.consumer.poll(0.1))
        return polled[-1] is not None

    until([], has_come)
    value = polled[-1]
    assert reader.consumer.poll(0.0) is None
    assert (value.partition, value.offset, value.timestamp) == (at(t), 0, NOON)
    assert (value.payload.key, value.payload.value, tuple(value.payload.headers)) == (b"k", b"v", (("h", b"x"),))


# -- groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.groups
def test_group_goes_on_where_it_committed(broker: Broker, join: Join, t: str, g: str) -> None:
    broker.create_topic(t, partitions=1)
    broker.write(t, ["0", "1", "2"])
    first = join(t)
    until([first], lambda: len(first.values) == 3)
    first.consumer.commit({at(t): 2}, first.answers.append)
    first.consumer.settle(10.0)
    assert first.answers == [None]
    first.consumer.close(10.0)
    assert broker.committed(g) == {at(t): 2}
    assert broker.lag(g) == {at(t): 1}
    second = join(t)
    until([second], lambda: second.values == [b"2"])
    assert second.told == [("assigned", (at(t),))]


def test_unknown_group_has_neither_offsets_nor_lag(broker: Broker) -> None:
    assert broker.committed("nobody") == {}
    assert broker.lag("nobody") == {}


@pytest.mark.groups
@pytest.mark.parametrize(
    ("start", "offset"), [("earliest", 0), ("latest", 3), (Last(2), 1), (NOON + timedelta(minutes=61), 2)]
)
def test_start_is_committed_before_anything_is_delivered(
    broker: Broker, join: Join, start: Any, offset: int, t: str, g: str
) -> None:
    broker.create_topic(t, partitions=1)
    broker.write(t, ["0", "1", "2"], timestamp=lambda value: NOON + timedelta(hours=int(value)))
    reader = join(t, start=start)
    until([reader], lambda: bool(reader.told))
    assert broker.committed(g) == {at(t): offset}


@pytest.mark.groups
def test_start_is_resolved_once(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=1)
    broker.write(t, ["old"])
    first = join(t, start="latest")
    until([first], lambda: bool(first.told))
    first.consumer.close(10.0)
    broker.write(t, ["new"])
    second = join(t, start="latest")
    until([second], lambda: second.values == [b"new"])


@pytest.mark.groups
def test_start_that_is_not_to_be_committed_is_not(broker: Broker, t: str, g: str) -> None:
    broker.create_topic(t)
    broker.write(t, ["a"])
    consumer = broker.client.consumer(group_id=g)
    consumer.commits_start = False
    values: list[Any] = []

    class Deaf:
        def assigned(self, partitions: Any) -> None: ...
        def revoked(self, partitions: Any) -> None: ...
        def lost(self, partitions: Any) -> None: ...

    consumer.subscribe([t], Deaf())

    def has_come() -> bool:
        values.extend(consumer.read(10, 0.05).payload)
        return bool(values)

    until([], has_come)
    consumer.close(5.0)
    assert values == [b"a"]
    assert broker.committed(g) == {}


@pytest.mark.groups
def test_log_that_ends_before_what_is_committed_is_an_error_or_begun_again(
    broker: Broker, join: Join, t: str, g: str
) -> None:
    broker.create_topic(t, partitions=1)
    broker.write(t, ["a", "b"])
    first = join(t)
    until([first], lambda: first.values == [b"a", b"b"])
    first.consumer.commit({at(t): 7}, first.answers.append)
    until([first], lambda: first.answers == [None])
    first.consumer.close(5.0)
    second = join(t)
    with pytest.raises(OffsetOutOfRange, match=rf"{t}\[0\] ends at offset 2 and was to be read from 7.*on_gap="):
        until([second], lambda: bool(second.values))
    assert second.consumer.known_ends([at(t)]) in ({}, {at(t): 2})
    second.consumer.close(5.0)
    assert broker.committed(g) == {at(t): 7}
    third = join(t, on_gap="earliest", commits=True)
    until([third], lambda: third.values == [b"a", b"b"])
    assert third.told == [("assigned", (at(t),)), ("revoked", (at(t),)), ("assigned", (at(t),))]
    assert broker.committed(g) == {at(t): 0}
    third.commit()
    until([third], lambda: broker.committed(g) == {at(t): 2})


@pytest.fixture
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka has as long as it takes to answer, and not the second that one waits where records are read."""
    for module in ("consumer", "watching"):
        monkeypatch.setattr(f"flowdsl.brokers.kafka.{module}.IN_TURN", PATIENCE)


@pytest.mark.usefixtures("_unhurried")
def test_ends_that_the_broker_told_of_are_known_without_asking(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=2)
    broker.write(t, ["a", "b"])
    reader = join(t, start="latest")
    until([reader], lambda: len(reader.owned) == 2)
    until([reader], lambda: reader.consumer.known_ends(reader.owned) == reader.owned)
    assert reader.consumer.ends([at(t)]) == {at(t): reader.owned[at(t)]}
    broker.write(t, ["c"], partition=0)
    longer = {**reader.owned, at(t): reader.owned[at(t)] + 1}
    until([reader], lambda: reader.consumer.known_ends(reader.owned) == longer)
    assert reader.consumer.ends([at(t)]) == {at(t): longer[at(t)]}


@pytest.mark.usefixtures("_unhurried")
def test_topic_that_is_made_anew_is_noticed_before_the_last_commit(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=1)
    broker.write(t, ["a", "b"])
    reader = join(t)
    until([reader], lambda: len(reader.values) == 2)
    reader.consumer.confirm(PATIENCE)
    broker.delete_topic(t)
    reader.consumer.confirm(PATIENCE)
    broker.create_topic(t, partitions=1)
    broker.write(t, map(str, range(20)))
    with pytest.raises(BrokerError, match=f"'{t}' was deleted and made anew"):
        reader.consumer.confirm(PATIENCE)


@pytest.mark.groups
def test_members_share_the_partitions_and_read_everything_once(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=4)
    members = [join(t, commits=True) for _ in range(3)]
    until(members, lambda: sorted(len(member.owned) for member in members) == [1, 1, 2])
    broker.write(t, map(str, range(40)))
    until(members, lambda: sum(len(member.values) for member in members) == 40)
    read = [value for member in members for value in member.values]
    assert sorted(read) == sorted(str(number).encode() for number in range(40))


@pytest.mark.groups
def test_leaving_member_hands_its_partitions_on_with_their_offsets(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=4)
    broker.write(t, map(str, range(40)))
    stays, leaves = (join(t, commits=True) for _ in range(2))
    until([stays, leaves], lambda: len(stays.owned) == len(leaves.owned) == 2)
    until([stays, leaves], lambda: len({*stays.seen, *leaves.seen}) == 40)
    leaves.commit()
    leaves.consumer.settle(10.0)
    leaves.consumer.close(10.0)
    until([stays], lambda: len(stays.owned) == 4)
    before = len(stays.values)
    broker.write(t, ["last"])
    until([stays], lambda: b"last" in stays.values)
    assert stays.values[before:] == [b"last"]


@pytest.mark.groups
def test_nothing_is_read_of_partitions_that_changed_hands(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t, partitions=6)
    stays = join(t, commits=True)
    until([stays], lambda: len(stays.owned) == 6)
    for turn in range(4):
        comes = join(t, commits=True)
        broker.write(t, map(str, range(300)), partition=lambda value: int(value) % 6)
        until([stays, comes], lambda: len(stays.owned) == 3 == len(comes.owned))  # noqa: B023  # waited for in this turn
        broker.write(t, map(str, range(300)), partition=lambda value: int(value) % 6)
        comes.read(timeout=0.05)
        comes.consumer.close(10.0)
        until([stays], lambda: len(stays.owned) == 6 and len({*stays.seen, *comes.seen}) >= 600 * (turn + 1) - 300)  # noqa: B023  # as above
        assert comes.strays == []
    assert stays.strays == []


def test_pattern_matches_whole_names_and_picks_up_new_topics(broker: Broker, join: Join, t: str) -> None:
    for name in (f"{t}-a", f"my-{t}-a"):
        broker.create_topic(name)
        broker.write(name, ["old"])
    reader = join(re.compile(f"{t}-.*"), start="latest", settings={"topic.metadata.refresh.interval.ms": 200})
    until([reader], lambda: bool(reader.owned))
    broker.create_topic(f"{t}-b")
    broker.write(f"{t}-b", ["later topics are read from their beginning"])
    until([reader], lambda: bool(reader.values))
    assert reader.values == [b"later topics are read from their beginning"]
    assert {partition.topic.name for partition in reader.owned} == {f"{t}-a", f"{t}-b"}


def test_pattern_that_matches_nothing_warns_and_waits(
    broker: Broker, join: Join, caplog: pytest.LogCaptureFixture, t: str
) -> None:
    reader = join(re.compile(f"{t}-.*"), settings={"topic.metadata.refresh.interval.ms": 200})
    assert f"{t}-.*" in caplog.text
    assert dict(reader.consumer.ends()) == {}
    broker.create_topic(f"{t}-a")
    broker.write(f"{t}-a", ["a"])
    until([reader], lambda: reader.values == [b"a"])


def test_closed_consumer_and_producer_say_so(broker: Broker, join: Join, t: str) -> None:
    broker.create_topic(t)
    reader, producer = join(t), broker.producer()
    reader.consumer.close(5.0)
    producer.close(5.0)
    with pytest.raises(BrokerError, match="closed"):
        reader.read()
    with pytest.raises(BrokerError, match="closed"):
        producer.send([outgoing(b"a")], Delivery())
