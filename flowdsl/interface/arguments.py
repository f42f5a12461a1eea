"""What constructors refuse, of strategies and of whatever else takes the same, naming argument and value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flowdsl.errors import shown

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")


def function(value: F, name: str) -> F:
    """Something that can be called."""
    if not callable(value):
        msg = f"{name} must be a function, not {shown(value)}"
        raise TypeError(msg)
    return value


def count(value: object, name: str) -> int:
    """A whole number, at least 1."""
    if not isinstance(value, int) or isinstance(value, bool):
        msg = f"{name} must be a whole number, not {shown(value)}"
        raise TypeError(msg)
    if value < 1:
        msg = f"{name} must be at least 1, but is {value}"
        raise ValueError(msg)
    return value


def strategy(value: S, name: str) -> S:
    """Something that messages can be handed to."""
    if isinstance(value, type) or not callable(getattr(value, "submit", None)):
        msg = f"{name} must be a ProcessingStrategy, not {shown(value)}"
        raise TypeError(msg)
    return value
