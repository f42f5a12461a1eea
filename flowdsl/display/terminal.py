"""How much room a terminal has."""

from __future__ import annotations

import os
import sys

OTHERWISE = 80


def width() -> int:
    """How many columns there are: what COLUMNS says, or the terminal behind standard output; 80 where neither tells."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or OTHERWISE  # type: ignore[union-attr]  # as below
    except (AttributeError, ValueError, OSError):  # no standard output, a closed one, or one that is no terminal
        return OTHERWISE
