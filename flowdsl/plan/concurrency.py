"""How a step works on several values at once, as a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from flowdsl.reactive.workers import WorkerPlan


@frozen
class Concurrency:
    """``n`` values at once on ``workers``. ``given``: what the user wrote, for those who look at the plan."""

    n: int
    workers: WorkerPlan
    ordered: bool = True
    key: Callable[[Any], Any] | None = None
    timeout: float | None = None
    given: tuple[tuple[str, Any], ...] = field(default=(), eq=False, repr=False)
