"""BatchStep and UnbatchStep: values put into lists, and taken out again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from flowdsl.clock import SYSTEM_CLOCK, Clock
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.strategies.reduce import Reduce
from flowdsl.strategies.unfold import Unfold
from flowdsl.types import BaseValue

T = TypeVar("T")

ValuesBatch = Sequence[BaseValue[T]]
"""The payload that BatchStep hands on and UnbatchStep takes: the values with their own offsets and timestamps."""


class BatchStep(Reduce[T, ValuesBatch[T]]):
    """Put values into lists of at most ``max_batch_size``, each no older than ``max_batch_time`` seconds.

    What the arguments mean is told at ``Reduce``.
    """

    def __init__(
        self,
        max_batch_size: int,
        max_batch_time: float,
        next_step: ProcessingStrategy[ValuesBatch[T]],
        compute_batch_size: Callable[[BaseValue[T]], int] | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(max_batch_size, max_batch_time, _append, _empty, next_step, compute_batch_size, clock=clock)


class UnbatchStep(Unfold[ValuesBatch[T], T]):
    """Hand on the values of each batch one by one, with their own offsets; the last completes the whole batch."""

    def __init__(self, next_step: ProcessingStrategy[T], *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(_values, next_step, clock=clock)


def _empty() -> list[Any]:
    return []


def _append(batch: Any, value: BaseValue[Any]) -> Any:
    batch.append(value)
    return batch


def _values(batch: ValuesBatch[T]) -> Iterable[BaseValue[T]]:
    return batch
