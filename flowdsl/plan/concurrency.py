"""How a step works on several values at once, as a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from flowdsl.reactive.workers import WorkerPlan


class Concurrency(Struct, frozen=True, eq=False):
    """``n`` values at once on ``workers``. ``given``: what the user wrote, for those who look at the plan; not compared."""

    n: int
    workers: WorkerPlan
    ordered: bool = True
    key: Callable[[Any], Any] | None = None
    timeout: float | None = None
    given: tuple[tuple[str, Any], ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Concurrency) and other._meant() == self._meant()

    def __hash__(self) -> int:
        return hash(self._meant())

    def _meant(self) -> tuple[Any, ...]:
        return self.n, self.workers, self.ordered, self.key, self.timeout
