"""The values that travel through a pipeline.

Offsets are always the *next* offset to read: a record at offset 7 is completed by the committable ``{partition: 8}``.
Timestamps are aware and in UTC, or None where a record has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeVar

from msgspec import Struct

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)

Headers = Sequence[tuple[str, bytes | None]]


class Topic(Struct, frozen=True, order=True, cache_hash=True):
    """The name of a topic. ``partition in topic`` tells whether a partition belongs to it."""

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
            msg = f"name must be a text, not {self.name!r:.200}"
            raise TypeError(msg)

    def __contains__(self, partition: object) -> bool:
        return isinstance(partition, Partition) and partition.topic == self


class Partition(Struct, frozen=True, order=True, cache_hash=True):
    """One partition of a topic; ``index`` starts at 0."""

    topic: Topic
    index: int

    def __post_init__(self) -> None:
        if not isinstance(self.topic, Topic):  # pyright: ignore[reportUnnecessaryIsInstance]  # as above
            msg = f"topic must be a Topic, not {self.topic!r:.200}"
            raise TypeError(msg)
        if not isinstance(self.index, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # as above
            msg = f"index must be a whole number, not {self.index!r:.200}"
            raise TypeError(msg)

    def __str__(self) -> str:
        return f"{self.topic.name}[{self.index}]"


class KafkaPayload(NamedTuple):
    """What a Kafka record carries. A value of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Record(Struct, Generic[T_co], frozen=True):
    """One record as a source read it. Of values in memory the topic is ``""`` and the partition 0."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: T_co
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: datetime | None = None


class FilteredPayload:
    """Stands where a payload was: the message carries offsets and no data."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FilteredPayload)

    def __hash__(self) -> int:
        return hash(FilteredPayload)

    def __repr__(self) -> str:
        return "<filtered>"


FILTERED_PAYLOAD: Final = FilteredPayload()


class BaseValue(Generic[T_co]):
    """A payload and the offsets that are done once it is. Subclasses have these three."""

    __slots__ = ()

    @property
    def payload(self) -> T_co:
        """The data, or ``FILTERED_PAYLOAD``."""
        raise NotImplementedError

    @property
    def committable(self) -> Mapping[Partition, int]:
        """The next offset to read of each partition, once this value is done."""
        raise NotImplementedError

    @property
    def timestamp(self) -> datetime | None:
        """When the record was produced, in UTC; None where that is not known."""
        raise NotImplementedError

    def replace(self, payload: U) -> BaseValue[U]:
        """The same offsets and timestamp with another payload."""
        return Value(payload, self.committable, self.timestamp)


class Value(BaseValue[T_co], Struct, frozen=True):
    """Any payload with any offsets: a batch over several partitions, for example."""

    payload: T_co  # pyright: ignore[reportIncompatibleMethodOverride]  # a field stands for the property
    committable: Mapping[Partition, int]  # pyright: ignore[reportIncompatibleMethodOverride]  # as above
    timestamp: datetime | None = None  # pyright: ignore[reportIncompatibleMethodOverride]  # as above


class BrokerValue(BaseValue[T_co], Struct, frozen=True):
    """One record of a broker."""

    payload: T_co  # pyright: ignore[reportIncompatibleMethodOverride]  # a field stands for the property
    partition: Partition
    offset: int
    timestamp: datetime | None = None  # pyright: ignore[reportIncompatibleMethodOverride]  # as above

    @property
    def next_offset(self) -> int:
        return self.offset + 1

    @property
    def committable(self) -> Mapping[Partition, int]:
        return {self.partition: self.offset + 1}

    def replace(self, payload: U) -> BrokerValue[U]:
        return BrokerValue(payload, self.partition, self.offset, self.timestamp)


class Message(Generic[T_co]):
    """What strategies hand to each other: one value."""

    __slots__ = ("value",)

    def __init__(self, value: BaseValue[T_co]) -> None:
        self.value = value

    @property
    def payload(self) -> T_co:
        return self.value.payload

    @property
    def payload_unfiltered(self) -> T_co:
        """The payload of a message that is known to carry data; TypeError for one that does not."""
        payload = self.value.payload
        if isinstance(payload, FilteredPayload):
            msg = "the message was filtered and carries no payload"
            raise TypeError(msg)
        return payload

    @property
    def committable(self) -> Mapping[Partition, int]:
        return self.value.committable

    @property
    def timestamp(self) -> datetime | None:
        return self.value.timestamp

    def replace(self, payload: U) -> Message[U]:
        return Message(self.value.replace(payload))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.value == other.value  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]  # the value of a foreign message

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Message({self.value!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Message, (self.value,)


class Commit(Protocol):
    """Reports that everything below these offsets is done. ``force`` asks for the commit to be sent at once."""

    def __call__(self, offsets: Mapping[Partition, int], force: bool = False) -> None: ...


class CommitPolicy(Struct, frozen=True):
    """When offsets that are done are sent to the broker: as soon as either condition holds.

    ``min_commit_frequency_sec``: so many seconds since the last commit. ``min_commit_messages``: so many records done
    since then. At least one must be given. What is done and not committed is read again after a crash.
    """

    min_commit_frequency_sec: float | None = None
    min_commit_messages: int | None = None

    def __post_init__(self) -> None:
        seconds, messages = self.min_commit_frequency_sec, self.min_commit_messages
        if seconds is None and messages is None:
            msg = "a commit policy needs min_commit_frequency_sec, min_commit_messages, or both"
            raise ValueError(msg)
        _refuse_type("min_commit_frequency_sec", seconds, "a number of seconds", int | float)
        _refuse_type("min_commit_messages", messages, "a whole number", int)
        if seconds is not None and not seconds >= 0:
            msg = f"min_commit_frequency_sec must not be negative, but is {seconds!r}"
            raise ValueError(msg)
        if messages is not None and messages < 1:
            msg = f"min_commit_messages must be at least 1, but is {messages!r}"
            raise ValueError(msg)


def _refuse_type(name: str, value: object, wanted: str, kinds: Any) -> None:
    if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
        msg = f"{name} must be {wanted}, not {value!r:.200}"
        raise TypeError(msg)


IMMEDIATE = CommitPolicy(None, 1)
ONCE_PER_SECOND = CommitPolicy(1, None)
NEVER = CommitPolicy(inf, None)
"""Nothing is committed at all, at the end of a run neither."""

PerState = Literal["partition", "flow"]
