"""Every notebook runs from top to bottom in a fresh kernel, none is left out."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tests.kernels import execute, runs_kernels

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.rglob("*.ipynb"))

pytestmark = [pytest.mark.slow, runs_kernels]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs_from_top_to_bottom(path: Path) -> None:
    execute(nbformat.read(path, as_version=4), FOLDER)


def test_notebook_with_a_cell_that_raises_does_not_pass(tmp_path: Path) -> None:
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(broken, tmp_path)
