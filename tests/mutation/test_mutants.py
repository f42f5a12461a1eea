"""Simulation finds each way to break the library, and nothing in the library as it is."""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flowdsl
from flowdsl.testing import simulate
from tests.mutation.flows import CASES
from tests.mutation.mutant import Mutant
from tests.mutation.mutants import MUTANTS

PACKAGE = Path(flowdsl.__file__).parent
HUNT = Path(__file__).with_name("hunt.py")
SEEDS = 500
UNBROKEN = int(os.environ.get("FLOWDSL_SEEDS", "2000"))
"""Seeds for the library as it is, over all flows together."""


def broken(folder: Path, mutant: Mutant) -> Path:
    """A copy of the package with the mutant in it."""
    shutil.copytree(PACKAGE, folder / "flowdsl", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "flowdsl" / mutant.file
    file.write_text(changed(file.read_text(), mutant))
    return folder


def changed(text: str, mutant: Mutant) -> str:
    for before, after in ((mutant.before, mutant.after), *mutant.also):
        assert text.count(before) == 1, f"the text that {mutant.name!r} replaces is gone: write the mutant anew"
        text = text.replace(before, after)
    compile(text, mutant.file, "exec")
    return text


def test_every_mutant_can_be_written() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        changed((PACKAGE / mutant.file).read_text(), mutant)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_simulation_finds_the_mutant(mutant: Mutant, tmp_path: Path) -> None:
    faulthandler.cancel_dump_traceback_later()  # the hunt has a time of its own, which is long on a busy machine
    command = [sys.executable, str(HUNT), str(broken(tmp_path, mutant)), str(SEEDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"the hunt ended with {done.returncode}:\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    assert found, f"{SEEDS} seeds of every flow did not show that {mutant.rule!r} is broken"


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_simulation_finds_nothing_in_the_library_as_it_is(name: str) -> None:
    case = CASES[name]
    seeds = -(-UNBROKEN // len(CASES))
    assert simulate(case.flow, case.records, seeds=seeds, trace=case.trace).seeds == seeds
