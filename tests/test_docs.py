"""The tables of docs/ agree with the library, and every page, example and notebook is found from the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowdsl.brokers.kafka import defaults
from flowdsl.brokers.settings import REFUSED

ROOT = Path(__file__).parent.parent


def settings_page() -> str:
    return (ROOT / "docs" / "kafka-settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "default", [*defaults.EVERYWHERE, *defaults.READING, *defaults.WRITING], ids=lambda default: default.name
)
def test_page_on_settings_tells_each_default_and_why(default: defaults.Default) -> None:
    value = str(default.value).lower() if isinstance(default.value, bool) else default.value
    row = rf"\| `{re.escape(default.name)}` \| `{value}` \| \w+ \| {re.escape(default.why)} \|"
    assert re.search(row, settings_page())


@pytest.mark.parametrize("fixed", [*defaults.READING_FIXED, *defaults.WRITING_FIXED], ids=lambda fixed: fixed.name)
def test_page_on_settings_tells_what_is_fixed(fixed: defaults.Default) -> None:
    value = str(fixed.value).lower() if isinstance(fixed.value, bool) else fixed.value
    assert f"| `{fixed.name}` | `{value}` |" in settings_page()


@pytest.mark.parametrize("name", [*REFUSED, "acks"])
def test_page_on_settings_tells_what_is_refused(name: str) -> None:
    assert f"`{name}`" in settings_page().partition("is refused with")[2]


@pytest.mark.parametrize("pattern", ["docs/*.md", "examples/*.py", "notebooks/*.ipynb"])
def test_all_there_is_to_read_is_linked_from_the_readme(pattern: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = [path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)]
    assert found
    assert [path for path in found if f"({path})" not in readme] == []
