"""The Python code of the README runs as it stands: its blocks one after the other, in one namespace."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(text: str) -> list[tuple[int, str]]:
    """The line on which each block of Python starts, and its code."""
    return [(text.count("\n", 0, found.start(1)), found[1]) for found in BLOCK.finditer(text)]


def test_blocks_are_found_with_their_lines() -> None:
    text = "# a\n```python\nx = 1\n```\n\n```\nno python\n```\n```python\ny = x\n```\n"
    assert blocks_of(text) == [(2, "x = 1\n"), (9, "y = x\n")]


def test_code_of_the_readme_runs_as_it_stands() -> None:
    blocks = blocks_of(README.read_text(encoding="utf-8"))
    assert blocks, "the README shows no code"
    namespace: dict[str, object] = {"__name__": "readme"}
    for line, code in blocks:
        padded = "\n" * line + code  # an error names the line of the README
        exec(compile(padded, str(README), "exec"), namespace)  # noqa: S102  # our own README


def test_readme_is_a_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120
