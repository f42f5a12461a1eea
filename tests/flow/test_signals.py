"""SIGINT and SIGTERM, sent to real processes: the record in hand is finished, what is done is committed, nothing else
is begun.

Whoever is slow here is slow for real, since a signal interrupts real work; what is asserted is how much was begun after
the signal, never how long it took.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0

PROGRAM = """
import json, signal, sys, time
from flowdsl import *

RECORDS, SLOW_FROM, SECONDS, AT = {records}, {slow_from}, {seconds}, {at}
broker = LocalBroker()
broker.write("orders", map(str, range(RECORDS)))
source = broker.source("orders", group_id="g", decode=TEXT)
done = []

def work(value):
    if int(value) < SLOW_FROM:
        done.append(int(value))
        return value
    print(value, flush=True)
    if int(value) == AT:
        sys.stdin.readline()  # in hand until the signals are here
    else:
        time.sleep(SECONDS)
    done.append(int(value))
    return value

def all_of(values):
    return [work(value) for value in values]

def drained(values):
    print("draining", flush=True)
    time.sleep(SECONDS)
    print("drained", flush=True)

class Store:
    def write(self, values):
        all_of(values)

nothing = sink(lambda value: None)
flow = {flow}
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
how, told = "returned", None
try:
    told = flow.run({arguments})
except BaseException as error:
    how = type(error).__name__
after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
with open(sys.argv[1], "w") as out:
    json.dump({{
        "how": how,
        "done": done,
        "committed": sum(broker.committed("g").values()),
        "restored": before == after,
        "delivered": getattr(told, "delivered", None),
    }}, out)
"""


@frozen
class Ended:
    how: str
    done: list[int]
    committed: int
    restored: bool
    delivered: int | None
    code: int


def run_and_signal(
    folder: Path,
    flow: str,
    *,
    arguments: str = "",
    records: int = 1000,
    slow_from: int = 0,
    seconds: float = 0.2,
    at: int = 2,
    numbers: tuple[signal.Signals, ...] = (signal.SIGTERM,),
    then: dict[str, signal.Signals] | None = None,
) -> Ended:
    """Run the flow in a process of its own, and send the signals while it works on record ``at``.

    The function ends that record once a single signal was sent, and by itself never. ``then``: further ones, each when
    the process prints that line.
    """
    program = PROGRAM.format(
        flow=flow, arguments=arguments, records=records, slow_from=slow_from, seconds=seconds, at=at
    )
    result = folder / "result.json"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(result)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = Timer(PATIENCE, process.kill)
        watchdog.start()
        for line in process.stdout:
            if int(line) == at:
                break
        for number in numbers:
            process.send_signal(number)
        if len(numbers) == 1:
            process.stdin.write("\n")
            process.stdin.flush()
        for line in process.stdout:
            if then and line.strip() in then:
                process.send_signal(then[line.strip()])
        code = process.wait(PATIENCE)
        watchdog.cancel()
        watchdog.join()
    told: dict[str, Any] = json.loads(result.read_text())
    return Ended(**told, code=code)


SHAPES = {
    "map_": "source | map_(work) | nothing",
    "filter_": "source | filter_(work) | nothing",
    "tap": "source | tap(work) | nothing",
    "flat_map": "source | flat_map(lambda value: [work(value)]) | nothing",
    "lazy flat_map": "source | flat_map(lambda value: (work(each) for each in [value])) | nothing",
    "scan": "source | scan(lambda state, value: work(value), None) | nothing",
    "sink": "source | sink(work)",
    "sink object": "source | sink(Store())",
    "behind a batch": "source | batch(5) | map_(all_of) | nothing",
    "behind a batch, one by one": "source | batch(100) | unbatch() | sink(work)",
    "in a branch": "source | broadcast(sink(work), nothing)",
    "beside a branch": "source | route(lambda value: 0, {0: map_(work)}) | nothing",
    "into another topic": 'source | map_(work) | broker.sink("others")',
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_waiting_is_not_begun_after_sigterm(tmp_path: Path, shape: str) -> None:
    ended = run_and_signal(tmp_path, SHAPES[shape], at=7)
    assert ended.how == "returned"
    assert ended.done == list(range(10 if shape == "behind a batch" else 8))
    # What was a batch moves its offsets with its last value.
    assert ended.committed == (0 if shape == "behind a batch, one by one" else len(ended.done))


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "sink object"])
def test_functions_that_turn_slow_do_not_hold_up_a_stop(tmp_path: Path, shape: str) -> None:
    size = 5 if shape == "behind a batch" else 1
    at = 1000 + size
    ended = run_and_signal(tmp_path, SHAPES[shape], records=3000, slow_from=1000, at=at)
    assert ended.how == "returned"
    assert len(ended.done) == at + size
    # As above: the last batch of a hundred is not done.
    assert ended.committed == (1000 if shape == "behind a batch, one by one" else len(ended.done))


LONG = 100.0
"""Seconds that a function would take if nothing ended it: longer than any of these tests may."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_unbounded_run_returns_what_it_has(tmp_path: Path, number: signal.Signals) -> None:
    ended = run_and_signal(tmp_path, "source | sink(work)", numbers=(number,))
    assert (ended.how, ended.code, ended.restored) == ("returned", 0, True)
    assert ended.delivered == len(ended.done) == ended.committed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("bound", ['until="end"', "count=900", "count=900, timeout=1000"])
def test_bounded_run_drains_commits_and_raises(tmp_path: Path, bound: str, number: signal.Signals) -> None:
    ended = run_and_signal(tmp_path, "source | sink(work)", arguments=bound, numbers=(number,))
    assert (ended.how, ended.restored) == ("KeyboardInterrupt", True)
    assert 3 <= len(ended.done) == ended.committed < 900


@pytest.mark.parametrize(
    "flow",
    [
        "from_iterable(range(1000)) | sink(work)",
        "merge(from_iterable(range(900)), from_iterable([])) | map_(work) | to_list()",
    ],
)
def test_values_in_memory_are_a_bounded_run(tmp_path: Path, flow: str) -> None:
    ended = run_and_signal(tmp_path, flow)
    assert (ended.how, ended.restored) == ("KeyboardInterrupt", True)
    assert 3 <= len(ended.done) < 900


def test_timeout_alone_bounds_nothing(tmp_path: Path) -> None:
    ended = run_and_signal(tmp_path, "source | sink(work)", arguments="timeout=1000")
    assert ended.how == "returned"


def test_group_that_is_open_is_handed_on_and_committed(tmp_path: Path) -> None:
    ended = run_and_signal(tmp_path, "source | map_(work) | batch(1000) | sink(drained)", seconds=0.05)
    assert (ended.how, ended.delivered) == ("returned", 1)
    assert 3 <= len(ended.done) == ended.committed < 1000


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)])
def test_second_signal_does_not_wait_for_the_function_in_hand(
    tmp_path: Path, numbers: tuple[signal.Signals, ...]
) -> None:
    ended = run_and_signal(tmp_path, "source | sink(work)", slow_from=7, seconds=LONG, at=7, numbers=numbers)
    assert (ended.how, ended.restored) == ("KeyboardInterrupt", True)
    assert ended.done == list(range(7))
    assert ended.committed <= 7


def test_second_signal_of_the_same_kind_ends_a_drain_at_once(tmp_path: Path) -> None:
    flow = "source | map_(lambda value: value if int(value) > 20 else print(value, flush=True) or value) | batch(100000) | sink(drained)"
    ended = run_and_signal(tmp_path, flow, seconds=LONG, then={"draining": signal.SIGTERM})
    assert (ended.how, ended.restored) == ("KeyboardInterrupt", True)
    assert ended.committed == 0


def test_second_signal_in_a_drain_does_not_begin_what_is_held_behind(tmp_path: Path) -> None:
    told = "source | map_(lambda value: print(value, flush=True) or value) | batch(400) | "
    flow = told + "map_(lambda values: drained(values) if len(values) < 400 else values) | batch(10**6) | sink(drained)"
    ended = run_and_signal(tmp_path, flow, at=999, seconds=LONG, then={"draining": signal.SIGTERM})
    assert (ended.how, ended.restored, ended.committed) == ("KeyboardInterrupt", True, 0)


def test_function_that_swallows_the_second_signal_is_ended_by_the_third(tmp_path: Path) -> None:
    program = PROGRAM.format(flow="source | sink(stubborn)", arguments="", records=10, slow_from=0, seconds=LONG, at=0)
    stubborn = """
def stubborn(value):
    for number in range(100):
        try:
            print(number, flush=True)
            time.sleep(SECONDS)
        except BaseException:
            pass

class Store:
"""
    with subprocess.Popen(
        [sys.executable, "-c", program.replace("\nclass Store:\n", stubborn, 1), str(tmp_path / "result.json")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == -signal.SIGTERM


def test_drain_that_takes_too_long_is_a_stop_timeout(tmp_path: Path) -> None:
    flow = "source | map_(work) | batch(1) | map_(lambda values: time.sleep(0.05) or values) | unbatch() | batch(1000) | sink(drained)"
    ended = run_and_signal(tmp_path, flow, arguments="stop_timeout=0.0", seconds=0.05)
    assert (ended.how, ended.restored) == ("StopTimeout", True)
    assert (len(ended.done) >= 3, ended.committed) == (True, 0)


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["source | sink(work)", "source | map_(work) | batch(500, within=1.0) | nothing"])
@pytest.mark.parametrize(("records", "slow_from"), [(1000, 0), (3000, 1000)])
def test_one_second_for_each_record_ends_with_the_one_in_hand(
    tmp_path: Path, flow: str, records: int, slow_from: int
) -> None:
    ended = run_and_signal(tmp_path, flow, records=records, slow_from=slow_from, seconds=1.0, at=slow_from + 1)
    assert ended.how == "returned"
    assert len(ended.done) == ended.committed == slow_from + 2
