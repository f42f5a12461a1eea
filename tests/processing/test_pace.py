"""How many records are read, and handed on, at once: at least one, at most what suits the consumer, and less where it is slow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdsl import LocalBroker, from_iterable, sink
from flowdsl.brokers.local.consumer import LocalConsumer
from flowdsl.brokers.memory import MemoryConsumer, MemoryRecords
from flowdsl.processing.pace import READ_BYTES, READ_SECONDS, SLICE_SECONDS, Pace
from flowdsl.types import Partition, Topic


def read_of(*values: bytes) -> MemoryRecords:
    return MemoryRecords(list(values), 0, Partition(Topic("t"), 0), {})


@given(st.integers(1, 10_000), st.lists(st.tuples(st.floats(0.0, 1e3), st.integers(0, 10**5))))
def test_nothing_is_larger_than_the_consumer_wants_or_less_than_one(most: int, turns: list[tuple[float, int]]) -> None:
    pace = Pace(most)
    for seconds, size in turns:
        pace.worked(pace.slice, seconds)
        pace.arrived(read_of(b"x" * size))
        assert 1 <= pace.slice <= most
        assert 1 <= pace.read <= most


def test_fast_work_is_handed_on_in_slices_of_all_that_was_read() -> None:
    pace = Pace(8000)
    for _ in range(5):
        pace.worked(pace.slice, pace.slice * 1e-6)
    assert pace.slice == 8000


@pytest.mark.parametrize("seconds", [1e-3, 1e-2, 1.0])
def test_slow_work_is_handed_on_and_read_in_small_numbers(seconds: float) -> None:
    pace = Pace(8000)
    for _ in range(40):
        pace.worked(pace.slice, pace.slice * seconds)
        pace.arrived(read_of(b"x"))
    assert pace.slice * seconds <= max(seconds, 2 * SLICE_SECONDS)
    assert pace.read <= max(1.0, READ_SECONDS / seconds)


def test_large_records_are_read_in_small_numbers() -> None:
    pace = Pace(8000)
    pace.arrived(read_of(b"x" * (READ_BYTES // 10)))
    assert pace.read == 10


@pytest.mark.parametrize(("consumer", "largest"), [(MemoryConsumer, 2000), (LocalConsumer, 8000)])
def test_flow_reads_no_more_at_once_than_its_source_wants_and_as_much(
    consumer: Any, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, read, sizes = LocalBroker(), consumer.read, list[int]()

    def spied(self: Any, limit: int, timeout: float) -> Any:
        records = read(self, limit, timeout)
        sizes.append(len(records))
        return records

    worked = Pace.worked
    monkeypatch.setattr(consumer, "read", spied)
    # Not as this machine's clock says: one stall would make the reads small.
    monkeypatch.setattr(Pace, "worked", lambda self, records, _: worked(self, records, records * 1e-7))
    values = [b"x"] * 20_000
    broker.write("t", values)
    source: Any = from_iterable(values) if consumer is MemoryConsumer else broker.source("t")
    seen: list[bytes] = []
    (source | sink(seen.append)).run(until=None if consumer is MemoryConsumer else "end")
    assert seen == values
    assert max(sizes) == largest
