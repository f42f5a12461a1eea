"""What only the embedded broker can be made to do: gaps, truncated logs, expelled members, in virtual time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.brokers.local.client import LocalClient
from flowdsl.brokers.local.log import Log
from flowdsl.brokers.local.records import LocalRecords, Span
from flowdsl.brokers.protocols import Delivery, Last, Outgoing
from flowdsl.errors import BrokerError, Fenced, OffsetOutOfRange, TopicNotFound
from flowdsl.testing.virtual import BEGINNING, VirtualClock
from flowdsl.types import Partition, Topic

ReaderOf = Callable[..., Any]
P0, P1 = (Partition(Topic("t"), index) for index in range(2))


def send(client: LocalClient, *values: bytes, topic: str = "t", partition: int | None = 0) -> None:
    producer = client.producer()
    delivery = Delivery()
    producer.send([Outgoing(topic, partition, None, value, (), None) for value in values], delivery)
    producer.poll()
    assert not delivery.failed
    assert not delivery.waiting


def log_of(client: LocalClient, partition: Partition) -> Log:
    log = client.storage.find(partition)
    assert log is not None
    return log


# -- writing ------------------------------------------------------------------------------------------------------------


def test_writer_that_was_interrupted_leaves_no_part_of_a_record(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"0")
    log = log_of(client, P0)
    log.columns.values.append(b"half of a record")
    log.columns.keys.append(b"its key")
    send(client, b"1", b"2")
    assert reader_of(client, ["t"]).read() == [b"0", b"1", b"2"]
    assert [len(column) for column in log.columns] == [3] * 5


# -- offsets ------------------------------------------------------------------------------------------------------------


def test_gap_moves_the_position_with_and_without_records_behind_it(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"0", b"1")
    log_of(client, P0).skip(8)
    reader = reader_of(client, ["t"])
    assert reader.read() == [b"0", b"1"]
    assert reader.done == {P0: 10}
    log_of(client, P0).append(None, b"20", (), BEGINNING, offset=20)
    assert reader.read() == [b"20"]
    assert (reader.seen[-1], reader.done) == ((P0, 20), {P0: 21})
    log_of(client, P0).skip(3)
    assert reader.read() == []
    assert reader.done == {P0: 24}
    assert reader.consumer.read(10, 0.0).positions == {}


def test_read_that_stops_short_of_a_gap_stands_behind_its_last_record(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"0")
    log_of(client, P0).append(None, b"9", (), BEGINNING, offset=9)
    reader = reader_of(client, ["t"])
    assert reader.read(limit=1) == [b"0"]
    assert reader.done == {P0: 1}


def test_records_that_are_gone_stop_the_reader(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, *[b"x"] * 10)
    reader = reader_of(client, ["t"])
    reader.read(limit=2)
    log_of(client, P0).truncate(7)
    with pytest.raises(OffsetOutOfRange, match=r'5 records of t\[0\] are gone.*2 to 6.*on_gap="earliest"'):
        reader.read()


def test_records_that_are_gone_are_passed_over_and_counted_on_request(
    client: LocalClient, reader_of: ReaderOf, caplog: pytest.LogCaptureFixture
) -> None:
    send(client, *[b"%d" % number for number in range(10)])
    reader = reader_of(client, ["t"], on_gap="earliest")
    reader.read(limit=2)
    log_of(client, P0).truncate(7)
    assert reader.read() == [b"7", b"8", b"9"]
    assert "5 records of t[0] are gone" in caplog.text


def test_what_was_read_stays_readable_when_the_log_is_truncated(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"a", b"b")
    reader = reader_of(client, ["t"])
    records = reader.consumer.read(10, 0.0)
    log_of(client, P0).truncate(2)
    assert records.payload == [b"a", b"b"]
    assert records.record(1).offset == 1


def test_last_counts_records_and_not_offsets(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"a", b"b")
    log_of(client, P0).skip(100)
    log_of(client, P0).append(None, b"c", (), BEGINNING)
    assert reader_of(client, ["t"], None, start=Last(2)).read() == [b"b", b"c"]


def test_partitions_that_appear_later_are_read_from_their_beginning(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"old")
    reader = reader_of(client, ["t"], start="latest")
    reader.read()
    client.storage.grow("t", 3)
    send(client, b"first of a new partition", partition=2)
    assert reader.read() == [b"first of a new partition"]


def test_topic_that_another_subscription_brings_begins_at_start(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"old")
    first = reader_of(client, ["t"], start="latest")
    first.read()
    first.consumer.close(0.0)
    send(client, b"old too", topic="u")
    second = reader_of(client, ["t", "u"], start="latest")
    assert second.read() == []
    send(client, b"new", topic="u")
    assert second.read() == [b"new"]


def test_deleted_topic_takes_its_offsets_along(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"a")
    reader = reader_of(client, ["t"])
    reader.read()
    reader.commit()
    client.delete_topic("t")
    assert client.committed("g") == {}
    with pytest.raises(TopicNotFound):
        reader.read()


def test_topic_of_a_pattern_that_is_deleted_is_revoked(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"a")
    readers = [reader_of(client, re.compile("t.*"), group) for group in ("g", None)]
    for reader in readers:
        reader.read()
    client.delete_topic("t")
    for reader in readers:
        reader.read()
        assert reader.told == [("assigned", (P0, P1)), ("revoked", (P0, P1))]
        assert not reader.owned


# -- groups -------------------------------------------------------------------------------------------------------------


def test_member_that_does_not_read_is_expelled_told_so_and_joins_again(
    client: LocalClient, clock: VirtualClock, reader_of: ReaderOf
) -> None:
    send(client, b"a")
    settings = {"max.poll.interval.ms": 60_000}
    slow, other = (reader_of(client, ["t"], settings=settings) for _ in range(2))
    for _ in range(3):
        slow.read()
        other.read()
    clock.advance(40)
    other.read()
    clock.advance(40)
    other.read()
    assert sorted(other.owned) == [P0, P1]
    slow.commit()
    slow.read()
    assert [what for what, _ in slow.told if what == "lost"] == ["lost"]
    assert all(isinstance(answer, Fenced) for answer in slow.answers)
    for _ in range(3):
        slow.read()
        other.read()
    assert len(slow.owned) == len(other.owned) == 1


def test_retained_partitions_are_not_rewound(client: LocalClient, reader_of: ReaderOf) -> None:
    client.create_topic("t", partitions=2, replication=1, settings={}, exist_ok=True)
    send(client, b"0", b"1")
    first = reader_of(client, ["t"])
    assert first.read() == [b"0", b"1"]
    second = reader_of(client, ["t"])
    for _ in range(4):
        second.read()
        first.read()
    kept = next(iter(first.owned))
    assert [what for what, _ in first.told] == ["assigned", "revoked"]
    assert first.seen == [(P0, 0), (P0, 1)]
    assert second.seen == ([] if kept == P0 else [(P0, 0), (P0, 1)])


def test_revoked_partition_is_released_only_after_the_listener_returned(
    client: LocalClient, reader_of: ReaderOf
) -> None:
    send(client, b"0", b"1")
    send(client, b"2", partition=1)
    first = reader_of(client, ["t"], commits=True)
    first.read()
    second = reader_of(client, ["t"])
    second.read()
    assert second.told == []  # what it will get is still the other's
    first.read()
    second.read()
    given = first.told[1][1]
    assert second.told == [("assigned", given)]
    assert first.answers == [None]
    assert second.values == []


def test_eager_members_start_anew_from_what_is_committed(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"0", b"1")
    settings = {"partition.assignment.strategy": "roundrobin"}
    first = reader_of(client, ["t"], settings=settings)
    first.read()
    second = reader_of(client, ["t"], settings=settings)
    for _ in range(4):
        second.read()
        first.read()
    assert first.told[1] == ("revoked", (P0, P1))
    assert sorted([*first.owned, *second.owned]) == [P0, P1]
    assert sorted([*first.values, *second.values]) == [b"0", b"0", b"1", b"1"]


def test_waiting_reader_wakes_when_another_thread_writes() -> None:
    client = LocalClient()
    client.create_topic("t", partitions=1, replication=1, settings={}, exist_ok=True)
    consumer = client.consumer(group_id=None)
    began = threading.Event()

    class Listener:
        def assigned(self, partitions: Any) -> None:
            began.set()

        def revoked(self, partitions: Any) -> None: ...
        def lost(self, partitions: Any) -> None: ...

    consumer.subscribe(["t"], Listener())
    values: list[Any] = []
    thread = threading.Thread(target=lambda: values.extend(consumer.read(10, 30.0).payload))
    thread.start()
    assert began.wait(10)
    send(client, b"a")
    thread.join(20)
    assert values == [b"a"]


def test_threads_that_write_and_read_together_lose_nothing() -> None:
    client = LocalClient(partitions=3)
    client.create_topic("t", partitions=3, replication=1, settings={}, exist_ok=True)

    def write() -> None:
        for _ in range(200):
            send(client, b"x", partition=None)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for thread in writers:
        thread.start()
    consumer = client.consumer(group_id="g")

    class Listener:
        def assigned(self, partitions: Any) -> None: ...
        def revoked(self, partitions: Any) -> None: ...
        def lost(self, partitions: Any) -> None: ...

    consumer.subscribe(["t"], Listener())
    seen: list[tuple[Partition, int]] = []
    for _ in range(3000):
        records = consumer.read(50, 0.01)
        seen += [records.place(index) for index in range(len(records))]
        if len(seen) == 600:
            break
    for thread in writers:
        thread.join()
    assert len(set(seen)) == len(seen) == 600


# -- producing ------------------------------------------------------------------------------------------------------------


def test_full_queue_takes_fewer_records_until_reports_are_served(client: LocalClient) -> None:
    producer = client.producer(settings={"queue.buffering.max.messages": 3})
    delivery = Delivery()
    records = [Outgoing("t", 0, None, b"x", (), None)] * 5
    assert producer.send(records, delivery) == 3
    assert producer.send(records[3:], delivery, first=3) == 0
    producer.poll()
    assert producer.send(records[3:], delivery, first=3) == 2
    producer.poll()
    assert (delivery.waiting, delivery.failed) == (0, {})


def test_purged_reports_do_not_come(client: LocalClient) -> None:
    producer = client.producer()
    delivery = Delivery()
    producer.send([Outgoing("t", 0, None, b"x", (), None)], delivery)
    producer.purge()
    producer.poll()
    assert delivery.waiting == 1


def test_timestamp_is_that_of_the_clock(client: LocalClient, clock: VirtualClock, reader_of: ReaderOf) -> None:
    clock.advance(90)
    send(client, b"a")
    records = reader_of(client, ["t"], None).consumer.read(1, 0.0)
    assert records.record(0).timestamp == BEGINNING + timedelta(seconds=90)


def test_closed_client_says_so(client: LocalClient, reader_of: ReaderOf) -> None:
    send(client, b"a")
    reader = reader_of(client, ["t"])
    client.close()
    for call in (client.topics, client.producer, reader.read, lambda: client.committed("g")):
        with pytest.raises(BrokerError, match="closed"):
            call()


# -- records --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=4), st.data())
def test_windows_show_what_the_whole_shows(shapes: list[tuple[int, int]], data: st.DataObject) -> None:
    spans: list[Span] = []
    for index, (count, step) in enumerate(shapes):
        log = Log(0)
        for number in range(count):
            log.append(b"%d" % number, b"%d-%d" % (index, number), (), BEGINNING, offset=number * step)
        if count:
            spans.append(Span(Partition(Topic("t"), index), log.columns, 0, count))
    positions = {span.partition: span.columns.offsets[-1] + 5 for span in spans}
    whole = LocalRecords(spans, positions)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    part = whole.window(start, stop)
    assert part.payload == whole.payload[start:stop]
    assert [part.place(at) for at in range(len(part))] == [whole.place(at) for at in range(start, stop)]
    assert [part.record(at) for at in range(len(part))] == [whole.record(at) for at in range(start, stop)]
    assert part.positions == (positions if stop == len(whole) else {})
    done = {}
    for partition, offset in (whole.place(at) for at in range(stop)):
        done[partition] = offset + 1
    assert whole.extent().committable_below(stop) == (positions if stop == len(whole) and positions else done)
