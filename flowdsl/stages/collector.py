"""What may stand at the end of a segment and hold values back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from flowdsl.chunks import Chunk


class Collector(Protocol):
    """What gathers the values at the end of a segment: groups, or what a sink has not flushed.

    ``drops_unfinished``: whether what is held is dropped when a step of the run failed, to be read again.
    """

    drops_unfinished: bool

    def add(self, chunk: Chunk[Any]) -> Sequence[Chunk[Any]]:
        """Take a chunk; returns what leaves because of it, in order."""
        ...

    def advance(self) -> Sequence[Chunk[Any]]:
        """What leaves because its time has come."""
        ...

    def flush(self) -> Sequence[Chunk[Any]]:
        """All that is left."""
        ...

    @property
    def held(self) -> int:
        """How many values wait here."""
        ...

    def deadline(self) -> float | None:
        """When ``advance`` has something to give, on the pipeline's clock."""
        ...
