"""Notebooks are executed in a kernel of Jupyter, as people do."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PATIENCE = 300
"""Seconds that a cell, or the start of a kernel, may take where the machine has much else to do."""

runs_kernels = pytest.mark.filterwarnings("ignore::DeprecationWarning:(jupyter_client|zmq|tornado|nbclient|asyncio).*")


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run it from top to bottom; its outputs are in it then. Raises CellExecutionError."""
    NotebookClient(
        notebook,
        timeout=PATIENCE,
        startup_timeout=PATIENCE,
        iopub_timeout=60,  # what is shown later than that would be missing in silence
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute()
