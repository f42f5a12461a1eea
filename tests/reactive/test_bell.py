"""A thread that waits is woken by what it waits for, and no wake is lost."""

from __future__ import annotations

import threading
from functools import partial
from time import monotonic

from flowdsl.reactive.bell import Bell
from flowdsl.reactive.workers import Outlet, Task

LONG = 30.0


def test_thread_that_waits_for_anything_is_woken_by_any_ring():
    bell = Bell()
    ringer = threading.Timer(0.05, bell.ring, ["something"])

    def nothing_yet() -> bool:
        """Asked once the wait has begun."""
        ringer.start()
        return False

    before = monotonic()
    bell.wait(LONG, nothing_yet)
    ringer.join()
    assert monotonic() - before < LONG / 2


def test_what_happened_before_the_wait_is_not_waited_for():
    bell = Bell()
    bell.ring("something")
    before = monotonic()
    bell.wait_for_news(LONG)
    assert monotonic() - before < LONG / 2


def test_thread_that_waits_for_two_tasks_sleeps_through_the_first():
    outlet = Outlet(Bell())
    first, second = Task("a", outlet), Task("b", outlet)
    woken: list[list[Task]] = []

    def wait() -> None:
        outlet.wait(LONG, 2)
        woken.append(list(outlet.done))

    before = monotonic()
    thread = threading.Thread(target=wait)
    thread.start()
    outlet.put(second)
    outlet.put(first)
    thread.join()
    assert woken == [[second, first]]
    assert monotonic() - before < LONG / 2


def test_tasks_that_come_together_wake_whoever_waits_for_fewer():
    outlet = Outlet(Bell())
    tasks = [Task(n, outlet) for n in range(3)]
    ringer = threading.Timer(0.05, outlet.put_all, [tasks])
    before = monotonic()
    ringer.start()
    outlet.wait(LONG, 2)
    ringer.join()
    assert list(outlet.done) == tasks
    assert monotonic() - before < LONG / 2


def test_no_wake_is_lost_between_threads_that_pass_a_ball():
    bells = [Bell(), Bell()]
    balls: list[list[int]] = [[], []]

    def reached(me: int, turn: int) -> bool:
        return len(balls[me]) > turn

    def play(me: int) -> None:
        for turn in range(300):
            balls[1 - me].append(turn)
            bells[1 - me].ring(None)
            while len(balls[me]) <= turn:
                bells[me].wait(LONG, partial(reached, me, turn))

    before = monotonic()
    threads = [threading.Thread(target=play, args=(me,)) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monotonic() - before < LONG
