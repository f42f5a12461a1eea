"""A process that is killed, and the next one that goes on from what was committed: nothing is lost, commits are never ahead.

The broker lives in memory and dies with its process. So a process writes down what its sink got and which commits it saw,
in the order in which that happened, and the next one gets a broker with the same records whose group stands where the
last one was seen to commit.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

ROOT = Path(__file__).parents[2]
RECORDS = 12_000
KILLS = 4
PATIENCE = 120.0

PROGRAM = """
import os, sys, threading, time
from flowdsl import *

log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
records, start = int(sys.argv[2]), int(sys.argv[3])
broker = LocalBroker()
broker.write("orders", map(str, range(records)))
source = broker.source("orders", group_id="g", decode=int)
if start:
    (source | sink(lambda _: None)).run(count=start)
assert sum(broker.committed("g").values()) == start

def note(text):
    os.write(log, text.encode())

def store(values):
    time.sleep(0.002)  # long enough to be killed in the middle
    note("".join(f"wrote {value}\\n" for value in values))

over = threading.Event()

def watch():
    seen = start
    while not over.wait(0.001):
        committed = sum(broker.committed("g").values())
        if committed != seen:
            seen = committed
            note(f"committed {seen}\\n")

threading.Thread(target=watch, daemon=True).start()
flow = source | filter_(lambda value: value % 10) | batch(7, within=0.01) | sink(store)
flow.run(until="end", commit=every(seconds=0.02))
over.set()
note(f"committed {sum(broker.committed('g').values())}\\n")
"""


class Log:
    """What the processes wrote down."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def lines(self) -> list[tuple[str, int]]:
        whole = self._path.read_text().rpartition("\n")[0]  # the last line may just be being written
        pairs = (line.split() for line in whole.splitlines())
        return [(word, int(number)) for word, number in pairs]

    def committed(self) -> int:
        return max((number for word, number in self.lines() if word == "committed"), default=0)

    def written(self) -> list[int]:
        return [number for word, number in self.lines() if word == "wrote"]


def run_one(log: Log, path: Path, *, kill_behind: int | None) -> None:
    """Run until it has written so many values more, and has committed, then kill it; or to its end."""
    before, start = len(log.written()), log.committed()
    command = [sys.executable, "-c", PROGRAM, str(path), str(RECORDS), str(start)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        while kill_behind is not None and process.poll() is None:
            if len(log.written()) - before >= kill_behind and log.committed() > start:
                process.kill()
                break
            sleep(0.01)
        code = process.wait(PATIENCE)
    assert code == (0 if kill_behind is None else -9)


@pytest.mark.slow
def test_what_a_killed_process_had_not_committed_is_done_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(path)
    for life in range(KILLS):
        run_one(log, path, kill_behind=100 + 137 * life)
        assert log.committed() < RECORDS
    run_one(log, path, kill_behind=None)

    written: set[int] = set()
    for word, number in log.lines():
        if word == "wrote":
            written.add(number)
        else:  # at this moment the sink had everything below
            assert {value for value in range(number) if value % 10} <= written
    assert written == {value for value in range(RECORDS) if value % 10}
    assert log.committed() == RECORDS


@pytest.mark.slow
def test_only_what_was_not_committed_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(path)
    run_one(log, path, kill_behind=500)
    begun, before = log.committed(), len(log.written())
    run_one(log, path, kill_behind=None)
    again = log.written()[before:]
    assert again == [value for value in range(begun, RECORDS) if value % 10]
