"""Records to be produced in the form in which librdkafka takes them; whole columns at once, where they come as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from flowdsl.brokers.columns import Columns
from flowdsl.brokers.outgoing import to_milliseconds
from flowdsl.brokers.protocols import Outgoing

ANY_PARTITION = -1
NO_TIMESTAMP = 0
_NONE = type(None)


class Row(NamedTuple):
    """One record. ``timestamp``: milliseconds since 1970."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[Any] | None
    timestamp: int


def rows_of(records: Sequence[Outgoing]) -> Iterator[Row | tuple[Any, ...]]:
    """One for each record, in the order of ``Row``."""
    if not isinstance(records, Columns):
        return map(row_of, records)
    return zip(
        repeat(records.topic),
        repeat(_partition(records.partition)),
        records.keys or repeat(None),
        records.values,
        repeat(None) if records.headers is None else _lists(records.headers),
        repeat(NO_TIMESTAMP) if records.timestamps is None else _stamps(records.timestamps),
        strict=False,
    )


def row_of(record: Outgoing) -> Row:
    topic, partition, key, value, headers, when = record
    return Row(topic, _partition(partition), key, value, list(headers) or None, _stamp(when))


def _partition(index: int | None) -> int:
    return ANY_PARTITION if index is None else index


def _stamp(when: Any) -> int:
    return NO_TIMESTAMP if when is None else when if isinstance(when, int) else to_milliseconds(when)


def _stamps(column: Sequence[Any]) -> Sequence[int]:
    return column if set(map(type, column)) == {int} else [_stamp(when) for when in column]


def _lists(column: Sequence[Any]) -> Sequence[list[Any] | None]:
    if {list, _NONE}.issuperset(map(type, column)):
        return column
    return [list(headers) if headers else None for headers in column]
