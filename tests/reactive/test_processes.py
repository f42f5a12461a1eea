"""``processes(n)`` as workers of a stage: outcomes ring, resources are opened per worker, nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from attrs import frozen

from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import FlowDefinitionError, FlowError, WorkerDied
from flowdsl.interface.slots import Failed, Succeeded
from flowdsl.reactive.bell import Bell
from flowdsl.reactive.processes import Processes, ProcessWorkers, processes
from flowdsl.reactive.workers import Job, Outlet, Task, Tools
from tests.pool.conftest import is_gone, wait_until
from tests.pool.errands import PATIENCE


@frozen
class Stage:
    """Workers, and what a stage has of them."""

    workers: ProcessWorkers
    outlet: Outlet

    def hand_out(self, *values: Any) -> list[Task]:
        tasks = [Task(value, self.outlet) for value in values]
        self.workers.hand_out(tasks)
        return tasks

    def outcomes(self, tasks: list[Task]) -> list[Any]:
        def arrived() -> bool:
            self.workers.wait(0.5, self.outlet, 1)
            self.workers.check()
            return all(task.outcome is not None for task in tasks)

        wait_until(arrived)
        return [told(task.outcome) for task in tasks]


def told(outcome: Succeeded[Any] | Failed | None) -> Any:
    return outcome.value if isinstance(outcome, Succeeded) else None if outcome is None else outcome.error


@contextmanager
def stage(job: Job, number: int = 1) -> Iterator[Stage]:
    bell = Bell()
    workers = processes(number).open(job, 100, Tools(SYSTEM_CLOCK, bell))
    assert isinstance(workers, ProcessWorkers)
    try:
        yield Stage(workers, Outlet(bell))
    finally:
        pids = workers.pids
        assert workers.close(Deadline.after(SYSTEM_CLOCK, PATIENCE)) == 0
        assert all(map(is_gone, pids))


def double(n: int) -> int:
    return 2 * n


def test_every_task_has_its_outcome_and_rings():
    with stage(Job("double", double), 2) as it:
        tasks = it.hand_out(*range(500))
        assert it.outcomes(tasks) == [2 * n for n in range(500)]
        wait_until(lambda: len(it.outlet.done) == len(tasks))
        assert sorted(map(id, it.outlet.done)) == sorted(map(id, tasks))


def test_what_becomes_of_results_happens_in_the_worker():
    with stage(Job("count", range, finish=list)) as it:
        assert it.outcomes(it.hand_out(2, 3)) == [[0, 1], [0, 1, 2]]


def test_a_resource_is_opened_once_per_worker_and_closed_at_the_end(tmp_path: Path):
    @contextmanager
    def opened() -> Iterator[int]:
        path = tmp_path / str(os.getpid())
        path.write_text("open")
        yield 100
        path.write_text("closed")

    with stage(Job("add", lambda base, n: base + n, resource=opened), 2) as it:
        assert it.outcomes(it.hand_out(*range(50))) == [100 + n for n in range(50)]
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["closed", "closed"]


def test_a_record_that_exceeds_its_time_is_given_up_and_others_go_on():
    with stage(Job("wait", sleep)) as it:
        stuck, *others = it.hand_out(1_000, 0, 0)

        def has_begun() -> bool:
            it.workers.check()
            return stuck.began is not None

        wait_until(has_begun)
        stuck.abandoned = True
        it.workers.give_up(stuck)
        assert it.outcomes(others) == [None, None]
        assert stuck.outcome is None


def test_cancelled_tasks_take_up_no_worker():
    with stage(Job("wait", sleep)) as it:
        tasks = it.hand_out(*[1_000] * 10)
        for task in tasks:  # whether one has begun is not known yet
            task.abandoned = True
        it.workers.cancel(tasks)
        assert it.outcomes(it.hand_out(0)) == [None]


def test_a_worker_that_is_killed_is_replaced_and_its_records_are_done_again():
    def slow(n: int) -> int:
        sleep(0.002)
        return n

    with stage(Job("slow", slow), 2) as it:
        tasks = it.hand_out(*range(400))
        sleep(0.1)
        os.kill(it.workers.pids[0], signal.SIGKILL)
        assert it.outcomes(tasks) == list(range(400))


def test_workers_that_cannot_go_on_are_an_error_of_the_step(tmp_path: Path):
    @contextmanager
    def opened() -> Iterator[int]:
        (tmp_path / "first").touch(exist_ok=False)
        yield 1

    with stage(Job("add", lambda base, n: base + n, resource=opened)) as it:
        os.kill(it.workers.pids[0], signal.SIGKILL)
        with pytest.raises(WorkerDied, match=r"step 'add' cannot go on: .*File exists"):
            it.outcomes(it.hand_out(1))


def test_what_cannot_be_pickled_is_refused_naming_step_function_and_culprit():
    lock = threading.Lock()

    def locked(n: int) -> int:
        with lock:
            return n

    @contextmanager
    def opened() -> Iterator[Any]:
        yield lock

    tools = Tools(SYSTEM_CLOCK, Bell())
    with pytest.raises(FlowDefinitionError, match=r"score: .*locked \(.*test_processes.py:\d+\) .* variable 'lock'"):
        processes(1).open(Job("score", locked), 1, tools)
    with pytest.raises(FlowDefinitionError, match=r"score: .*its resource, .*variable 'lock'"):
        processes(1).open(Job("score", max, resource=opened), 1, tools)


def test_a_resource_that_cannot_be_opened_is_an_error_of_the_step():
    @contextmanager
    def opened() -> Iterator[int]:
        raise ArithmeticError("no model")
        yield

    with pytest.raises(FlowError, match=r"(?s)'score'.*no model"):
        processes(1).open(Job("score", max, resource=opened), 1, Tools(SYSTEM_CLOCK, Bell()))


def test_coroutines_are_refused():
    refusal = processes(2).refusal(Job("fetch", double, is_async=True), 4)
    assert refusal is not None
    assert "event loop" in refusal
    assert processes(2).refusal(Job("double", double), 4) is None


def test_processes_are_a_value():
    assert processes(3) == Processes(3) != processes(2)
    assert processes(2).told(64) == "on 2 processes, 64 records in flight"
    assert processes(2).concurrency == 2048


@pytest.mark.parametrize(("given", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_number_that_makes_no_sense_is_refused(given: Any, error: type[Exception]):
    with pytest.raises(error, match="n must be"):
        processes(given)


def test_workers_that_were_closed_do_nothing_more():
    with stage(Job("double", double)) as it:
        pass
    (task,) = it.hand_out(1)
    with pytest.raises(FlowError, match="closed"):
        it.workers.check()
    assert task.outcome is None
