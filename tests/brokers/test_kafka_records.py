"""What a read of Kafka brings: each value at its place, whatever is known of the read, and however it is cut or joined."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from flowdsl.brokers.kafka.places import Places
from flowdsl.brokers.kafka.records import KafkaRecords, as_datetime
from flowdsl.types import Partition, Topic

PLACES = Places()
Place = tuple[int, int]


@st.composite
def reads(draw: st.DrawFn) -> list[Place]:
    """Partition and offset of some records: runs of partitions, offsets that ascend, with gaps or without."""
    ends = dict.fromkeys(range(3), 0)
    places: list[Place] = []
    for partition, length in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=5)):
        for gap in draw(st.lists(st.sampled_from([0, 0, 0, 1, 5]), min_size=length, max_size=length)):
            places.append((partition, ends[partition] + gap))
            ends[partition] += gap + 1
    return places


def partition(number: int) -> Partition:
    return Partition(Topic("t"), number)


def as_read(*bits: list[Place], known: bool, values_only: bool = True) -> KafkaRecords:
    records = KafkaRecords(values_only=values_only)
    stands = dict.fromkeys(map(partition, range(3)), 0)
    for places in bits:
        messages: list[Any] = [
            Message(topic="t", partition=number, offset=offset, value=f"{number}:{offset}".encode(), key=b"k")
            for number, offset in places
        ]
        ends = done_below(places)
        records.take(messages, {p: range(stands[p], ends[p]) for p in ends} if known else {}, PLACES)
        stands |= ends
    return records


def told(records: KafkaRecords) -> list[Place]:
    found = [records.place(index) for index in range(len(records))]
    assert records.payload == [f"{each.index}:{offset}".encode() for each, offset in found]
    assert [(each.partition, each.offset) for each in map(records.record, range(len(records)))] == [
        (each.index, offset) for each, offset in found
    ]
    return [(each.index, offset) for each, offset in found]


def done_below(places: list[Place]) -> dict[Partition, int]:
    return {partition(number): offset + 1 for number, offset in places}


@st.composite
def turns(draw: st.DrawFn) -> list[Place]:
    """Two partitions that take turns, each with its next record, or the one behind."""
    ends = [0, 0]
    places: list[Place] = []
    for number, gap in draw(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0, 0, 0, 1])), max_size=8)):
        places.append((number, ends[number] + gap))
        ends[number] += gap + 1
    return places


@settings(max_examples=2000)
@given(turns(), st.integers(0, 8))
def test_records_of_partitions_that_take_turns_are_at_their_places(places: list[Place], cut: int) -> None:
    records = as_read(places[:cut], places[cut:], known=True)
    assert told(records) == places
    assert records.positions == done_below(places)


@given(reads(), st.booleans(), st.booleans(), st.data())
def test_each_value_is_at_its_place(places: list[Place], known: bool, values_only: bool, data: st.DataObject) -> None:
    records = as_read(places, known=known, values_only=values_only)
    assert told(records) == places
    start = data.draw(st.integers(0, len(places)))
    stop = data.draw(st.integers(start, len(places)))
    assert told(records.window(start, stop)) == places[start:stop]
    assert records.extent().committable_below(stop) == done_below(places[:stop])
    window = records.window(start, stop)
    extent = window.extent()
    assert [extent.place(index) for index in range(len(extent))] == [
        window.place(index) for index in range(len(window))
    ]
    assert (extent.positions, extent.committable) == (window.positions, window.committable)
    assert records.partition is None or {number for number, _ in places} == {records.partition.index}


@given(reads(), st.lists(st.integers(0, 20), max_size=3), st.sets(st.integers(0, 2)))
def test_what_is_read_bit_by_bit_is_one_read_and_loses_what_changed_hands(
    places: list[Place], cuts: list[int], lost: set[int]
) -> None:
    bounds = sorted({0, len(places), *(min(cut, len(places)) for cut in cuts)})
    pieces = [places[start:stop] for start, stop in pairwise(bounds)] or [places]
    records = as_read(*pieces, known=True)
    assert told(records) == places
    assert records.positions == done_below(places)
    kept = [place for place in places if place[0] not in lost]
    rest = records.without({partition(number) for number in lost})
    assert told(rest) == kept
    assert rest.positions == done_below(kept)


@pytest.mark.parametrize("values_only", [False, True])
def test_only_who_asked_for_more_than_values_gets_keys(values_only: bool) -> None:
    records = as_read([(0, 7), (0, 8)], known=True, values_only=values_only)
    assert list(records.column("key")) == ([None, None] if values_only else [b"k", b"k"])
    assert records.record(1).key == (None if values_only else b"k")


@pytest.mark.parametrize(
    ("clock", "milliseconds", "moment"),
    [
        (TIMESTAMP_CREATE_TIME, 1_700_000_000_123, datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)),
        (TIMESTAMP_LOG_APPEND_TIME, 0, datetime(1970, 1, 1, tzinfo=UTC)),
        (TIMESTAMP_CREATE_TIME, 253_402_300_799_999, datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        (TIMESTAMP_CREATE_TIME, 253_402_300_800_000, None),
        (TIMESTAMP_CREATE_TIME, 2**63 - 1, None),
        (TIMESTAMP_CREATE_TIME, -1, None),
        (TIMESTAMP_NOT_AVAILABLE, 1_700_000_000_123, None),
    ],
)
def test_timestamp_that_no_date_can_hold_is_none(clock: int, milliseconds: int, moment: datetime | None) -> None:
    assert as_datetime(clock, milliseconds) == moment
