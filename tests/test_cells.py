"""Cells of a notebook with worker processes: what was defined in them travels, and the kernel's end leaves none behind."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.kernels import execute, runs_kernels
from tests.pool.conftest import is_gone, wait_until

pytestmark = [pytest.mark.slow, runs_kernels]

CELLS = """
import os
from dataclasses import dataclass
from flowdsl import from_iterable, map_, processes, to_list

@dataclass
class Order:
    id: int

RATE = 3

# --
def price(order):
    return Order(order.id * RATE)

# --
orders = (from_iterable(Order(n) for n in range(50)) | map_(price, scheduler=processes(1)) | to_list()).run()
assert orders == [Order(3 * n) for n in range(50)], orders
assert type(orders[0]) is Order

# --
pids = (from_iterable(range(200)) | map_(lambda n: os.getpid(), scheduler=processes(2)) | to_list()).run()
assert os.getpid() not in pids

# --
from flowdsl.strategies import MultiprocessingPool, Noop, RunTaskWithMultiprocessing

pool = MultiprocessingPool(2)
step = RunTaskWithMultiprocessing(lambda message: message.payload * RATE, Noop(), 10, 1.0, pool)
print(*pool.pids)
"""


def test_functions_and_classes_of_cells_travel_and_nothing_outlives_the_kernel(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(text.strip()) for text in CELLS.split("# --\n")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    execute(notebook, tmp_path)
    (output,) = cells[-1]["outputs"]
    pids = [int(pid) for pid in output["text"].split()]
    assert len(pids) == 2
    wait_until(lambda: all(map(is_gone, pids)))
