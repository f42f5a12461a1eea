"""For strategies whose work is done elsewhere, in real time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from flowdsl.errors import InvalidMessage
from flowdsl.strategies import ProcessingStrategy

PATIENCE = 60.0
"""Seconds after which something that should have happened did not, on a machine that has much else to do."""


def wait_until(happened: Callable[[], bool]) -> None:
    until = monotonic() + PATIENCE
    while not happened():
        assert monotonic() < until, "it did not happen"
        sleep(0.001)


def poll_until(strategy: ProcessingStrategy[Any], happened: Callable[[], bool]) -> list[InvalidMessage]:
    """Poll until it happened; returns what came out of the polls."""
    caught: list[InvalidMessage] = []

    def polled() -> bool:
        try:
            strategy.poll()
        except InvalidMessage as invalid:
            caught.append(invalid)
        return happened()

    wait_until(polled)
    return caught
