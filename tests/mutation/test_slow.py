"""Simulation finds each way to break slow work, and nothing in it as it is, whatever is slow, fails or dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowdsl.testing import simulate
from tests.mutation.mutant import Mutant
from tests.mutation.slow_flows import SLOW_CASES
from tests.mutation.slow_mutants import SLOW_MUTANTS
from tests.mutation.test_mutants import PACKAGE, broken, changed

HUNT = Path(__file__).with_name("hunt_slow.py")
SEEDS = 500

ASKED = os.environ.get("FLOWDSL_SEEDS")
UNBROKEN = int(ASKED or "240")
"""Few unless more are asked for: a seed takes some hundredths of a second."""


def test_every_mutant_of_slow_work_can_be_written() -> None:
    assert len({mutant.name for mutant in SLOW_MUTANTS}) == len(SLOW_MUTANTS)
    for mutant in SLOW_MUTANTS:
        changed((PACKAGE / mutant.file).read_text(), mutant)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_CASES)
def test_simulation_finds_nothing_in_slow_work_as_it_is(name: str) -> None:
    case = SLOW_CASES[name]
    seeds = -(-UNBROKEN // len(SLOW_CASES))
    assert simulate(case.flow, case.records, seeds=seeds, trace=case.trace).seeds == seeds


@pytest.mark.slow
@pytest.mark.skipif(ASKED is None, reason="hunts of many minutes: set FLOWDSL_SEEDS=2000 to run them")
@pytest.mark.parametrize("mutant", SLOW_MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_simulation_finds_the_mutant(mutant: Mutant, tmp_path: Path) -> None:
    command = [sys.executable, str(HUNT), str(broken(tmp_path, mutant)), str(SEEDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found, f"{SEEDS} seeds of every flow did not show that {mutant.rule!r} is broken"
