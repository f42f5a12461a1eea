"""What a run counted."""

from __future__ import annotations

from attrs import frozen

from flowdsl.types import Partition


@frozen
class StepStats:
    """One step: how many values it got, and how many it handed on."""

    name: str
    received: int
    emitted: int


@frozen
class Stats:
    """A run so far. ``delivered`` counts values as the sinks got them: a list is one value; ``elapsed`` in seconds."""

    read: int
    delivered: int
    filtered: int
    failed: int
    in_flight: int
    committed: dict[Partition, int]
    elapsed: float
    steps: tuple[StepStats, ...]
