"""Records to be produced, part by part: many of them without an object for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from flowdsl.brokers.protocols import Outgoing


class Columns(Sequence[Outgoing]):
    """Records for one topic. A part that is None is so for all; of ``timestamps`` those that are numbers are milliseconds."""

    __slots__ = ("headers", "keys", "partition", "timestamps", "topic", "values")

    def __init__(
        self,
        topic: str,
        values: Sequence[bytes | None],
        *,
        partition: int | None = None,
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Any] | None = None,
        timestamps: Sequence[Any] | None = None,
    ) -> None:
        self.topic, self.partition = topic, partition
        self.values, self.keys, self.headers, self.timestamps = values, keys, headers, timestamps

    @property
    def is_plain(self) -> bool:
        """Whether they have key and value and nothing besides, and no value is null."""
        bare = self.partition is None and self.timestamps is None and self.headers is None
        return bare and None not in self.values

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, at: int) -> Outgoing: ...
    @overload
    def __getitem__(self, at: slice) -> Columns: ...
    def __getitem__(self, at: int | slice) -> Outgoing | Columns:
        key, headers, timestamp = (_at(part, at) for part in (self.keys, self.headers, self.timestamps))
        if isinstance(at, int):
            return Outgoing(self.topic, self.partition, key, self.values[at], tuple(headers or ()), timestamp)
        return Columns(
            self.topic, self.values[at], partition=self.partition, keys=key, headers=headers, timestamps=timestamp
        )


def _at(part: Sequence[Any] | None, at: int | slice) -> Any:
    return None if part is None else part[at]
