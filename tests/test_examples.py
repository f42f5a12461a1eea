"""Every example runs alone, in a process of its own, ends by itself, and prints something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SHOWN = {
    "branches.py": ["billed:", "LookupError: no branch for the key 'unknown'", "committed: {'orders[0]': 5}"],
    "enrich_http.py": ["enriched: 380", "in order: True", "404 after 3 attempts", "committed orders[0] 400"],
    "flights.py": ["JetBlue Airways", "27,004 records read", "dead letters: 606", "flowdsl-exception"],
    "score_on_processes.py": [
        "2,000 orders scored by ",
        "none of them this one: True",
        "as they were read: [0, 2, 5, 6, 10]",
        "as they were written: [0, 2, 5, 6, 10]",
        "committed: 2000",
    ],
    "hand_written.py": ["5 records", "committed: {'numbers[0]': 5}", "totals: 1, 3, 6, 10, 15"],
}
"""Words that each must print: what it is there to show."""


def run_example(example: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_every_example_is_known() -> None:
    assert [example.name for example in EXAMPLES] == sorted(SHOWN)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_runs_alone_and_shows_what_it_is_for(example: Path) -> None:
    done = run_example(example)
    assert done.returncode == 0, done.stderr
    for words in SHOWN[example.name]:
        assert words in done.stdout, done.stdout
