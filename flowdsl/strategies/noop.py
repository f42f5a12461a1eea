"""Noop: the end of a pipeline that commits nothing."""

from __future__ import annotations

from typing import Any

from flowdsl.strategies.end import End
from flowdsl.types import Message


class Noop(End[Any]):
    """Take every message and do nothing with it; its offsets are not committed."""

    def accept(self, message: Message[Any]) -> None:
        """Let go of it."""
