"""From what users give to what a record holds. Each raises TypeError or ValueError, naming what was wrong with which value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flowdsl.brokers.protocols import Outgoing
from flowdsl.errors import refuse_awaitable, shown
from flowdsl.types import KafkaPayload, Partition, Topic


def part_of(given: Any, value: Any, name: str) -> Any:
    """One part of the record for a value: what was given, or what the given function returns."""
    if not callable(given):
        return given
    part = given(value)
    if hasattr(part, "__await__"):
        refuse_awaitable(part, f"the function for {name}")
    return part


def as_bytes(given: Any, name: str) -> bytes | None:
    """Keys and values are bytes, or a text that becomes UTF-8."""
    if given is None or type(given) is bytes:
        return given
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)  # pyright: ignore[reportUnknownArgumentType]  # a memoryview of whatever
    hint = ": give encode=, for example encode=JSON" if name == "value" else ""
    msg = f"a record's {name} must be bytes or str, not {shown(given)}{hint}"
    raise TypeError(msg)


def as_value(encoded: Any) -> bytes | None:
    """What ``encode`` made of a value. None is a tombstone, which deletes: nobody writes one by forgetting a return."""
    if encoded is None:
        msg = "encode made None of a value, and must make bytes or str: a tombstone is a value that is None itself"
        raise TypeError(msg)
    return as_bytes(encoded, "value")


def as_headers(given: Any) -> tuple[tuple[str, bytes | None], ...]:
    """Headers are pairs of a name and bytes, a text, or None."""
    if not given:
        return ()
    try:
        return tuple((_text(name), as_bytes(value, "header")) for name, value in map(_pair, given))
    except (TypeError, ValueError) as wrong:
        msg = f"headers must be pairs of a name and bytes or None, not {shown(given)}"
        raise TypeError(msg) from wrong


def _pair(given: Any) -> Any:
    """A text of two characters unpacks as well, and so does the key of a dict: neither is a pair."""
    if not isinstance(given, tuple | list):
        msg = f"not a pair: {shown(given)}"
        raise TypeError(msg)
    return given  # pyright: ignore[reportUnknownVariableType]  # its items are looked at next


def _text(name: Any) -> str:
    if not isinstance(name, str):
        msg = f"the name of a header must be str, not {shown(name)}"
        raise TypeError(msg)
    return name


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_milliseconds(milliseconds: int) -> datetime:
    """A moment as Kafka counts it. Raises OverflowError for one that no date can hold."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def to_milliseconds(when: datetime) -> int:
    return (when - EPOCH) // timedelta(milliseconds=1)


def as_timestamp(given: Any) -> datetime | None:
    """Timestamps are aware; records hold them in UTC."""
    if given is None:
        return None
    if not isinstance(given, datetime):
        msg = f"timestamp must be an aware datetime or None, not {shown(given)}"
        raise TypeError(msg)
    if given.tzinfo is None:
        msg = f"timestamp must be aware, such as datetime.now(UTC), but {given!r} has no time zone"
        raise ValueError(msg)
    return given.astimezone(UTC)


def as_outgoing(destination: Any, payload: Any, now: datetime | None) -> Outgoing:
    """The record for one ``produce``. Raises TypeError for what is no Topic, Partition or KafkaPayload."""
    if not isinstance(destination, Topic | Partition):
        msg = f"destination must be a Topic or a Partition, not {shown(destination)}"
        raise TypeError(msg)
    if not isinstance(payload, KafkaPayload):
        msg = f"payload must be a KafkaPayload(key, value, headers), not {shown(payload)}"
        raise TypeError(msg)
    topic, index = (destination, None) if isinstance(destination, Topic) else (destination.topic, destination.index)
    key, value = as_bytes(payload.key, "key"), as_bytes(payload.value, "value")
    return Outgoing(topic.name, index, key, value, as_headers(payload.headers), now)


def topic_name(given: Any) -> str:
    if not isinstance(given, str) or not given:
        msg = f"topic must be a name, not {shown(given)}"
        raise TypeError(msg) if not isinstance(given, str) else ValueError(msg)
    return given


def partition_index(given: Any) -> int | None:
    if given is None:
        return None
    if not isinstance(given, int) or isinstance(given, bool):
        msg = f"partition must be a number or None, not {shown(given)}"
        raise TypeError(msg)
    if given < 0:
        msg = f"partition must be at least 0, but is {given}"
        raise ValueError(msg)
    return given
