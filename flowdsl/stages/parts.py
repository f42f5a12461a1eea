"""What an operator becomes: kernels, which the compiler fuses, a collector behind them, or a stage of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.stages.collector import Collector
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import Fusable
from flowdsl.types import Partition

Strategy = ProcessingStrategy[Any]


class Collecting(Struct, frozen=True):
    """What gathers values at the end of a segment."""

    collector: Collector


class Standing(Struct, frozen=True):
    """A stage that cannot be fused. ``make`` puts a ``kind`` of strategy in front of what comes after it."""

    kind: type[Strategy]
    make: Callable[[Strategy], Strategy]


Part = Fusable | Collecting | Standing


class Build(Struct, frozen=True):
    """What an operator is lowered with: its step, and the means to build what hangs on it."""

    step: StepContext
    handler: Handler
    branch: Callable[[int, Strategy], Strategy]
    """Builds the operator's branch of that number in front of a stage."""
    partitions: Mapping[Partition, int]
    stops: bool = True
    """Whether a failing record ends the run."""
