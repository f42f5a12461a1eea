"""Programs with a pool, as a whole: no guard around their main part, and no process left behind, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pool.conftest import is_gone, wait_until
from tests.pool.errands import PATIENCE

UNGUARDED = """
import sys
from dataclasses import dataclass
from tests.pool.errands import called
from flowdsl.pool.pool import Pool

@dataclass
class Order:
    id: int

def bigger(order):
    return Order(order.id + 1)

print("main runs")
pool = Pool(2)
results = called(pool.function(bigger), [Order(n) for n in range(100)])
assert results == [Order(n + 1) for n in range(100)], results
assert all(type(result) is Order for result in results)
{end}
"""

BUSY = """
import time
from tests.pool.errands import sent
from flowdsl.pool.pool import Pool

pool = Pool(2)
function = pool.function(lambda seconds: time.sleep(seconds))
{first}
print(*pool.pids, flush=True)
time.sleep(1000)
"""

pytestmark = pytest.mark.slow  # whole programs

ROOT = Path(__file__).parents[2]


def started(text: str, tmp_path: Path) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(text)
    return subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_script_without_a_guard_runs_its_main_part_once(tmp_path: Path) -> None:
    with started(UNGUARDED.format(end="pool.close()"), tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (out, err, process.returncode) == ("main runs\n", "", 0)


def test_a_script_that_closes_nothing_ends_at_once_and_quietly(tmp_path: Path) -> None:
    with started(UNGUARDED.format(end="print(*pool.pids)"), tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (err, process.returncode) == ("", 0)
    wait_until(lambda: all(is_gone(int(pid)) for pid in out.splitlines()[1].split()))


def ends_with_its_owner(first: str, number: signal.Signals, tmp_path: Path) -> None:
    with started(BUSY.format(first=first), tmp_path) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert not any(map(is_gone, pids))
        process.send_signal(number)
        process.wait(PATIENCE)
        wait_until(lambda: all(map(is_gone, pids)))


def test_idle_workers_end_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    ends_with_its_owner("", signal.SIGKILL, tmp_path)


def test_busy_workers_end_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    ends_with_its_owner("sent(function, [1000] * 8)", signal.SIGKILL, tmp_path)


def test_busy_workers_end_with_an_owner_that_is_interrupted(tmp_path: Path) -> None:
    ends_with_its_owner("sent(function, [1000] * 8)", signal.SIGINT, tmp_path)
