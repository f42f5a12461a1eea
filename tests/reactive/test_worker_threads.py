"""The queue and the threads of a step: who finds what there, and how often whoever waits for them wakes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from time import monotonic, sleep
from typing import Any

import pytest

from flowdsl.chunks import Chunk
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.origins import NOTHING
from flowdsl.reactive.bell import Bell
from flowdsl.reactive.scheduler import WorkerScheduler
from flowdsl.reactive.threads import threads
from flowdsl.reactive.workers import Job, Tools
from flowdsl.stages.attempts import Attempts
from flowdsl.stages.unfinished import Lot

LONG = 30.0


@pytest.fixture
def scheduler() -> Iterator[WorkerScheduler]:
    scheduler = WorkerScheduler(3, "test")
    yield scheduler
    scheduler.close()
    for thread in scheduler.threads:
        thread.join(LONG)


def test_thread_that_starts_finds_all_that_was_scheduled_with_it(scheduler: WorkerScheduler):
    seen: list[int] = []
    inside, done = threading.Lock(), threading.Event()

    def action(_: Any, state: int | None) -> None:
        with inside:
            seen.append(scheduler.queue.qsize())
            if len(seen) == 100:
                done.set()

    scheduler.schedule_all(action, range(100))
    assert done.wait(LONG)
    assert seen[0] >= 97  # all but what the three threads have in hand


def test_no_more_threads_begin_than_there_are_actions(scheduler: WorkerScheduler):
    scheduler.schedule_all(lambda *_: None, range(2))
    assert len(scheduler.threads) == 2
    scheduler.schedule_all(lambda *_: None, range(100))
    assert len(scheduler.threads) == 3


def test_actions_begin_in_the_order_in_which_they_were_scheduled():
    scheduler, seen = WorkerScheduler(1, "test"), list[int]()
    scheduler.schedule_all(lambda _, state: seen.append(state or 0), range(50))
    scheduler.schedule(lambda _, state: seen.append(state or 0), 50)
    scheduler.close()
    scheduler.threads[0].join(LONG)
    assert seen == list(range(51))


@pytest.mark.parametrize("schedule", [WorkerScheduler.schedule, WorkerScheduler.schedule_all])
def test_closed_scheduler_takes_nothing(schedule: Callable[..., object]):
    scheduler = WorkerScheduler(1, "test")
    scheduler.close()
    with pytest.raises(RuntimeError, match="the scheduler test was closed"):
        schedule(scheduler, lambda *_: None, ())


class Gated:
    """Attempts on 8 threads, whose function returns once it is let."""

    def __init__(self, count: int) -> None:
        self._count, self._gate, bell = count, threading.Semaphore(0), Bell()
        job = Job("step", lambda value: self._gate.acquire() and value)
        self._workers = threads(8).open(job, 8, Tools(SYSTEM_CLOCK, bell))
        self.attempts = Attempts(self._workers, bell, None)
        self.enough = self.attempts.capacity // self._workers.wakes
        self.attempts.begin(Lot(Chunk(list(range(count)), count, NOTHING), 0).open(count, self.attempts.outlet))

    def done_when_woken(self, let: int) -> int:
        """Let so many return, one by one, while somebody waits; how many had when the wait was over."""

        def let_them() -> None:
            for _ in range(let):
                sleep(0.005)
                self._gate.release()

        letting = threading.Thread(target=let_them)
        letting.start()
        self.attempts.wait_for_some(LONG)
        done = len(self.attempts.outlet.done)
        letting.join()
        return done

    def close(self) -> None:
        self._gate.release(self._count)
        self._workers.close(Deadline.after(SYSTEM_CLOCK, LONG))


def test_stage_that_waits_is_woken_once_enough_are_done_to_be_worth_it():
    with closing(Gated(200)) as gated:
        assert 1 < gated.enough < 200
        assert gated.done_when_woken(let=gated.enough) == gated.enough


def test_stage_that_waits_for_few_is_woken_by_the_last_of_them():
    before = monotonic()
    with closing(Gated(5)) as gated:
        assert gated.done_when_woken(let=5) == 5
    assert monotonic() - before < LONG / 2
