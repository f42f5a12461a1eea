"""States that live as long as an assignment: one per partition, or one for the flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.types import Partition, PerState


def lanes(chunk: Chunk[Any], per: PerState) -> list[Partition | None]:
    """The partition of each value, as far as states differ: None where there is one for all."""
    if per == "flow" or not chunk.values:
        return [None] * len(chunk)
    partition = chunk.origins.partition
    if partition is not None:
        return [partition] * len(chunk)
    return [
        window.place(position)[0] for at in range(len(chunk)) for window, position, _ in chunk.origins.members(at)[:1]
    ]


def fresh(initial: Any) -> Callable[[], Any]:
    """What gives the first state: the function that the user gave, or one that returns the value."""
    return initial if callable(initial) else lambda: initial
