"""The Python code of the README and of docs/ runs as it stands: the blocks of a page one after the other, in one namespace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(text: str) -> list[tuple[int, str]]:
    """The line on which each block of Python starts, and its code."""
    return [(text.count("\n", 0, found.start(1)), found[1]) for found in BLOCK.finditer(text)]


def test_blocks_are_found_with_their_lines() -> None:
    text = "# a\n```python\nx = 1\n```\n\n```\nno python\n```\n```python\ny = x\n```\n"
    assert blocks_of(text) == [(2, "x = 1\n"), (9, "y = x\n")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_of_a_page_runs_as_it_stands(page: Path) -> None:
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    assert blocks or page != README, "the README shows no code"
    namespace: dict[str, object] = {"__name__": page.stem}
    for line, code in blocks:
        padded = "\n" * line + code  # an error names the line of the page
        exec(compile(padded, str(page), "exec"), namespace)  # noqa: S102  # our own pages


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_readme_is_a_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120
