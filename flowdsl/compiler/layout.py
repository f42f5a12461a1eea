"""Paragraphs and terms in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

WIDTH = 80
INDENT = 2
LONGEST_NAME = 18
"""Longer names get a line of their own."""


def filled(text: str, indent: int = INDENT, first: str = "") -> list[str]:
    """A paragraph, broken to the width. ``first``: what stands before it, on its first line."""
    room = max(20, WIDTH - indent - len(first))
    lines = wrap(text, room) or [""]
    return [" " * indent + (first if at == 0 else " " * len(first)) + line for at, line in enumerate(lines)]


def terms(given: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names with what is to be said of each."""
    pairs = list(given)
    width = min(LONGEST_NAME, max((len(name) for name, _ in pairs), default=0))
    for name, text in pairs:
        if len(name) > width:
            yield from filled(name)
            yield from filled(text, INDENT + width + 2)
        else:
            yield from filled(text, first=f"{name:<{width}}  ")
