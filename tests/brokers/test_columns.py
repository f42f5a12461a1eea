"""Records on their way out, part by part, are the same as one object for each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flowdsl.brokers.columns import Columns
from flowdsl.brokers.kafka.commits import Epochs
from flowdsl.brokers.kafka.rows import rows_of
from flowdsl.brokers.protocols import Outgoing
from flowdsl.types import Partition, Topic


def test_columns_are_a_sequence_of_records() -> None:
    columns = Columns("t", [b"a", None], keys=[b"k", None], headers=[[("h", b"1")], None], timestamps=[5, None])
    records = [Outgoing("t", None, b"k", b"a", (("h", b"1"),), 5), Outgoing("t", None, None, None, (), None)]
    assert list(columns) == records
    assert list(columns[1:]) == records[1:]


STAMP = datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("headers", [None, [[("h", b"1")], None], [(("h", b"1"),), ()]])
@pytest.mark.parametrize("timestamps", [None, [5, 7], [STAMP, None]])
@pytest.mark.parametrize("partition", [None, 3])
def test_columns_and_records_are_the_same_to_librdkafka(headers: Any, timestamps: Any, partition: int | None) -> None:
    columns = Columns("t", [b"a", None], partition=partition, keys=[b"k", None], headers=headers, timestamps=timestamps)
    rows = [tuple(row) for row in rows_of(columns)]
    assert rows == [tuple(row) for row in rows_of(list(columns))]
    first = [("h", b"1")] if headers else None, {None: 0, 5: 5, STAMP: 5000}[timestamps and timestamps[0]]
    assert rows[0] == ("t", -1 if partition is None else partition, b"k", b"a", *first)


def test_only_records_with_key_and_value_alone_are_plain() -> None:
    assert Columns("t", [b"a"], keys=[None]).is_plain
    assert not Columns("t", [b"a", None]).is_plain
    assert not Columns("t", [b"a"], partition=0).is_plain
    assert not Columns("t", [b"a"], headers=[()]).is_plain
    assert not Columns("t", [b"a"], timestamps=[5]).is_plain


def test_offset_is_committed_with_the_epoch_of_what_was_read_up_to_there_or_a_newer_one() -> None:
    partition, epochs = Partition(Topic("t"), 0), Epochs()
    assert epochs.at(partition, 3) is None
    for position, epoch in ((10, 1), (20, 1), (30, 4)):
        epochs.read(partition, position, epoch)
    assert [epochs.at(partition, offset) for offset in (5, 20, 21, 30, 31)] == [1, 1, 4, 4, 4]
    epochs.forget([partition])
    assert epochs.at(partition, 3) is None
