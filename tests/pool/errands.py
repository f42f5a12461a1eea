"""What is given to a pool in tests, and how one waits for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from flowdsl.pool.pool import Function

PATIENCE = 60.0
"""Seconds after which something that should have come is missing, on a machine that has much else to do."""


class Parcel:
    """An errand that remembers its outcome."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.abandoned = False
        self.began: float | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.arrived = threading.Event()

    def succeed(self, value: Any) -> None:
        self.result = value
        self.arrived.set()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.arrived.set()

    @property
    def outcome(self) -> Any:
        return self.result if self.error is None else self.error


def sent(function: Function, values: Sequence[Any]) -> list[Parcel]:
    parcels = [Parcel(value) for value in values]
    function.call(parcels)
    return parcels


def outcomes(parcels: Sequence[Parcel]) -> list[Any]:
    for parcel in parcels:
        assert parcel.arrived.wait(PATIENCE), "an outcome is missing"
    return [parcel.outcome for parcel in parcels]


def called(function: Function, values: Sequence[Any]) -> list[Any]:
    return outcomes(sent(function, values))
