"""Steps of flows on worker processes, as users write them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from flowdsl import (
    JSON,
    FlowDefinitionError,
    LocalBroker,
    StepFailed,
    WorkerDied,
    filter_,
    flat_map,
    from_iterable,
    immediately,
    map_,
    processes,
    sink,
    tap,
    to_list,
    using,
)
from flowdsl.testing import Driver
from tests.pool.conftest import is_gone, wait_until
from tests.pool.killing import Killer

LONG = 120.0


@pytest.fixture(name="broker")
def _broker() -> Iterator[LocalBroker]:
    with LocalBroker(partitions=2) as broker:
        yield broker


def test_lambdas_run_on_processes_and_order_is_kept() -> None:
    flow = from_iterable(range(3_000)) | map_(lambda n: (n * n, os.getpid()), scheduler=processes(2)) | to_list()
    results = flow.run(timeout=LONG)
    assert [square for square, _ in results] == [n * n for n in range(3_000)]
    assert os.getpid() not in {pid for _, pid in results}
    assert all(is_gone(pid) for _, pid in results)


def test_every_operator_that_may_be_slow_runs_there(tmp_path: Path) -> None:
    def note(n: int) -> None:
        (tmp_path / str(n)).touch()

    two = processes(1)
    flow = (
        from_iterable(range(10))
        | filter_(lambda n: n % 2 == 0, scheduler=two)
        | flat_map(lambda n: (n + more for more in range(2)), scheduler=two)
        | tap(note, scheduler=two, name="note")
        | map_(lambda n: n + 0, scheduler=two)
        | sink(note, scheduler=two, name="store")
    )
    stats = flow.run(timeout=LONG)
    assert stats.delivered == 10
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(10))


def test_a_resource_is_opened_once_per_worker(tmp_path: Path) -> None:
    @contextmanager
    def model() -> Iterator[int]:
        path = tmp_path / str(os.getpid())
        path.write_text("open")
        yield 100
        path.write_text("closed")

    def add(number: int, n: int) -> int:
        while len(list(tmp_path.iterdir())) < 2:  # both are there before either has done its work
            sleep(0.01)
        return number + n

    flow = from_iterable(range(200)) | map_(using(model, add), scheduler=processes(2)) | to_list()
    assert flow.run(timeout=LONG) == [100 + n for n in range(200)]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["closed", "closed"]


def test_a_record_that_raises_surfaces_at_its_position_with_the_traceback_of_the_worker(broker: LocalBroker) -> None:
    def score(n: int) -> float:
        return 1 / (n - 5)

    broker.write("numbers", range(10), encode=JSON, partition=0)
    seen: list[float] = []
    flow = broker.source("numbers", group_id="g", decode=JSON) | map_(score, scheduler=processes(2)) | sink(seen.append)
    with pytest.raises(StepFailed, match="step 'score' failed at numbers") as caught:
        flow.run(until="end", timeout=LONG)
    assert caught.value.offset == 5
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert ", in score" in str(caught.value.__cause__.__cause__)
    assert len(seen) == 5
    assert sum(broker.committed("g").values()) == 5


def test_a_record_on_which_workers_die_is_a_failing_record() -> None:
    def deadly(n: int) -> int:
        if n == 7:
            os._exit(3)
        return n

    step = map_(deadly, scheduler=processes(2))
    with pytest.raises(StepFailed) as caught:
        (from_iterable(range(20)) | step | to_list()).run(timeout=LONG)
    assert isinstance(caught.value.__cause__, WorkerDied)
    flow = from_iterable(range(20)) | step | to_list()
    assert flow.run(timeout=LONG, on_error="skip") == [n for n in range(20) if n != 7]


def test_a_record_that_exceeds_its_time_is_a_failing_record_and_its_process_is_replaced() -> None:
    def maybe_slow(n: int) -> int:
        sleep(1_000 if n == 3 else 0)
        return n

    flow = from_iterable(range(20)) | map_(maybe_slow, scheduler=processes(2), timeout=1.0, on_error="skip") | to_list()
    assert flow.run(timeout=LONG) == [n for n in range(20) if n != 3]


@pytest.mark.slow
def test_processes_that_are_killed_under_load_are_replaced_and_every_record_is_in_the_sink(broker: LocalBroker) -> None:
    def slow(n: int) -> tuple[int, int]:
        sleep(0.002)
        return n, os.getpid()

    broker.write("numbers", range(3_000), encode=JSON)
    seen: list[tuple[int, int]] = []
    source = broker.source("numbers", group_id="g", decode=JSON)
    flow = source | map_(slow, scheduler=processes(2)) | sink(seen.append)
    killer = Killer(lambda: {pid for _, pid in seen[-100:]})
    with flow.start(commit=immediately) as run:
        for killed in range(1, 4):
            wait_until(lambda killed=killed: len(seen) > killed * 300)  # type: ignore[misc]  # of a loop that waits
            killer.kill()
        wait_until(lambda: sum(broker.committed("g").values()) == 3_000)
        assert run.stop().delivered == 3_000
    assert sorted(n for n, _ in seen) == list(range(3_000))
    assert sum(broker.committed("g").values()) == 3_000
    assert all(is_gone(pid) for _, pid in seen)


def test_what_cannot_travel_is_refused_at_the_start() -> None:
    lock = threading.Lock()

    def locked(n: int) -> int:
        with lock:
            return n

    flow = from_iterable([1]) | map_(locked, scheduler=processes(1)) | to_list()
    with pytest.raises(FlowDefinitionError, match=r"locked: .*locked \(.*:\d+\) cannot be sent .* variable 'lock'"):
        flow.run()


def test_a_value_that_cannot_travel_is_a_failing_record() -> None:
    flow = from_iterable([1, threading.Lock()]) | map_(str, scheduler=processes(1)) | to_list()
    with pytest.raises(StepFailed, match="cannot be sent to a worker process") as caught:
        flow.run(timeout=LONG)
    assert caught.value.offset == 1


def test_coroutines_are_refused_where_they_are_written() -> None:
    async def fetch(n: int) -> int:
        return n

    with pytest.raises(ValueError, match="worker processes take plain functions"):
        map_(fetch, scheduler=processes(2))


def test_a_stop_in_the_middle_drains_and_leaves_no_process(broker: LocalBroker) -> None:
    def slow(n: int) -> tuple[int, int]:
        sleep(0.01)
        return n, os.getpid()

    broker.write("numbers", range(2_000), encode=JSON, partition=0)
    seen: list[tuple[int, int]] = []
    flow = broker.source("numbers", group_id="g", decode=JSON) | map_(slow, scheduler=processes(2)) | sink(seen.append)
    with flow.start() as run:
        wait_until(lambda: len(seen) > 20)
        run.stop(LONG)
    assert sum(broker.committed("g").values()) == len(seen) < 2_000
    assert [n for n, _ in seen] == list(range(len(seen)))
    assert all(is_gone(pid) for _, pid in seen)


def test_explain_tells_of_processes() -> None:
    explained = (from_iterable([1]) | map_(str, scheduler=processes(3), concurrency=60) | to_list()).explain()
    assert "on 3 processes, 60 records in flight" in explained


def test_in_a_driver_they_are_virtual() -> None:
    pids: list[Any] = []
    driver = Driver(from_iterable([]) | map_(lambda n: (n, os.getpid()), scheduler=processes(2)) | sink(pids.append))
    driver.send(1)
    driver.run_until_idle()
    assert pids == [(1, os.getpid())]
    driver.close()
