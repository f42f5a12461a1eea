"""Every scheduler of RxPY that a user may pass: it works, or it is refused by name; none hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import reactivex
from reactivex.disposable import Disposable
from reactivex.scheduler import (
    CatchScheduler,
    CurrentThreadScheduler,
    EventLoopScheduler,
    HistoricalScheduler,
    ImmediateScheduler,
    NewThreadScheduler,
    ThreadPoolScheduler,
    TimeoutScheduler,
    TrampolineScheduler,
    VirtualTimeScheduler,
)
from reactivex.scheduler.eventloop import AsyncIOScheduler, AsyncIOThreadSafeScheduler
from reactivex.scheduler.mainloop import PyGameScheduler, TkinterScheduler
from reactivex.scheduler.scheduler import Scheduler
from reactivex.testing import TestScheduler

from flowdsl import FlowError, StepFailed, StopTimeout, from_iterable, map_, sink, threads, to_list, using
from flowdsl.reactive import foreign
from flowdsl.testing import Driver

N = 30


class OnThreads(Scheduler):
    """A user's own: a thread for each action, no clock."""

    def schedule(self, action: Any, state: Any = None) -> Any:
        thread = threading.Thread(target=action, args=(self, state))
        thread.start()
        return Disposable(self._never)

    def schedule_relative(self, duetime: Any, action: Any, state: Any = None) -> Any:
        raise AssertionError

    schedule_absolute = schedule_relative

    def _never(self) -> None:
        raise AssertionError


class Here(OnThreads):
    """A user's own: runs what it is given at once, on the thread that gives it."""

    def schedule(self, action: Any, state: Any = None) -> Any:
        action(self, state)
        return Disposable(self._never)


class Forgetful(OnThreads):
    """A user's own: never runs every seventh action."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def schedule(self, action: Any, state: Any = None) -> Any:
        self._count += 1
        return Disposable() if self._count % 7 == 5 else super().schedule(action, state)


class Unmoved:
    """A user interface whose loop does not run: a root of Tk, a module of pygame."""

    time = None

    def after(self, _: int, action: Any, *arguments: Any) -> None:
        """Some time, but its loop does not run."""


@contextmanager
def pool() -> Iterator[Any]:
    scheduler = ThreadPoolScheduler(3)
    yield scheduler
    scheduler.executor.shutdown()


@contextmanager
def event_loop() -> Iterator[Any]:
    scheduler = EventLoopScheduler()
    yield scheduler
    scheduler.dispose()


@contextmanager
def asyncio_loop() -> Iterator[Any]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield AsyncIOThreadSafeScheduler(loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@contextmanager
def plain(make: Callable[[], Any]) -> Iterator[Any]:
    yield make()


def caught() -> Any:
    return CatchScheduler(NewThreadScheduler(), lambda _: True)


WORKING: list[Callable[[], Any]] = [
    pool,
    event_loop,
    asyncio_loop,
    lambda: plain(NewThreadScheduler),
    lambda: plain(TimeoutScheduler),
    lambda: plain(caught),
    lambda: plain(OnThreads),
    lambda: plain(Here),
    lambda: plain(lambda: CatchScheduler(ImmediateScheduler(), lambda _: True)),
]
ORDERS: list[dict[str, Any]] = [{}, {"ordered": False}, {"key": lambda n: n % 3}]
in_every_order = pytest.mark.parametrize("order", ORDERS, ids=["ordered", "unordered", "key"])
INLINE = [ImmediateScheduler, CurrentThreadScheduler, TrampolineScheduler]


@pytest.mark.parametrize("make", WORKING)
@in_every_order
def test_scheduler_runs_every_value(make: Callable[[], Any], order: dict[str, Any]):
    with make() as scheduler:
        flow = from_iterable(range(N)) | map_(lambda n: n * n, scheduler=scheduler, concurrency=3, **order) | to_list()
        assert sorted(flow.run()) == [n * n for n in range(N)]


@pytest.mark.parametrize("make", WORKING)
def test_what_a_function_raises_there_is_a_failing_record(make: Callable[[], Any]):
    def fail(n: int) -> int:
        if n == 5:
            raise ValueError(n)
        return n

    with make() as scheduler, pytest.raises(StepFailed) as failed:
        (from_iterable(range(N)) | map_(fail, scheduler=scheduler, concurrency=3) | to_list()).run()
    assert failed.value.offset == 5


@pytest.mark.parametrize("kind", INLINE)
def test_scheduler_that_runs_inline_serves_one_at_a_time_and_explain_says_so(kind: type[Any]):
    flow = from_iterable(range(N)) | map_(lambda n: n * n, scheduler=kind()) | to_list()
    assert flow.run() == [n * n for n in range(N)]
    assert "one at a time" in " ".join(flow.explain().split())
    with pytest.raises(ValueError, match=rf"{kind.__name__}.*concurrency=4"):
        map_(str, scheduler=kind(), concurrency=4)
    with pytest.raises(ValueError, match="timeout"):
        map_(str, scheduler=kind(), timeout=1)


@pytest.mark.parametrize("scheduler", [Here(), CatchScheduler(ImmediateScheduler(), lambda _: True)])
def test_timeout_is_refused_where_a_scheduler_turns_out_to_run_on_the_thread_of_the_flow(scheduler: Any):
    flow = from_iterable(range(N)) | map_(str, scheduler=scheduler, concurrency=3, timeout=1) | to_list()
    with pytest.raises(FlowError, match=rf"timeout=1.*{type(scheduler).__name__}"):
        flow.run()


@in_every_order
def test_scheduler_that_drops_what_it_was_given_is_refused_by_name(
    order: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(foreign, "PATIENCE", 0.2)
    flow = from_iterable(range(N)) | map_(str, scheduler=Forgetful(), concurrency=3, **order) | to_list()
    with pytest.raises(FlowError, match="Forgetful"):
        flow.run()


@pytest.mark.parametrize("kind", [TkinterScheduler, PyGameScheduler])
def test_scheduler_of_a_user_interface_whose_loop_does_not_run_is_refused_by_name(
    kind: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(foreign, "PATIENCE", 0.1)
    with pytest.raises(FlowError, match=kind.__name__):
        (from_iterable(range(N)) | map_(str, scheduler=kind(Unmoved())) | to_list()).run()


def test_loop_that_stops_with_coroutines_under_way_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(foreign, "PATIENCE", 2.0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def stop_the_loop(n: int) -> int:
        if n == 5:
            loop.stop()
        await asyncio.sleep(0.01)
        return n

    step = map_(stop_the_loop, scheduler=AsyncIOThreadSafeScheduler(loop), concurrency=3)
    handle = (from_iterable(range(N)) | step | to_list()).start(stop_timeout=0.5)
    with pytest.raises(FlowError, match=r"AsyncIOThreadSafeScheduler.*loop does not run"):
        handle.result(timeout=30)
    thread.join(30)
    assert not thread.is_alive(), "it was refused before it could stop the loop"
    loop.run_until_complete(_cancelled(asyncio.all_tasks(loop)))
    loop.close()


async def _cancelled(tasks: set[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("kind", [VirtualTimeScheduler, HistoricalScheduler, TestScheduler])
def test_scheduler_of_virtual_time_is_refused_by_name_in_a_run(kind: type[Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(foreign, "PATIENCE", 0.1)
    flow = from_iterable(range(N)) | map_(str, scheduler=kind()) | to_list()
    with pytest.raises(FlowError, match=rf"{kind.__name__}.*virtual"):
        flow.run()


def test_scheduler_is_virtual_in_a_driver_whatever_it_is():
    driver = Driver(from_iterable([]) | map_(str, scheduler=VirtualTimeScheduler()) | sink(lambda _: None))
    driver.send(1)
    driver.close()
    assert driver.outputs == ["1"]


def test_scheduler_whose_pool_was_shut_down_is_refused_by_name():
    scheduler = ThreadPoolScheduler(1)
    scheduler.executor.shutdown()
    with pytest.raises(FlowError, match="ThreadPoolScheduler"):
        (from_iterable(range(N)) | map_(str, scheduler=scheduler) | to_list()).run()


def test_scheduler_that_was_disposed_of_is_refused_by_name():
    scheduler = EventLoopScheduler()
    scheduler.dispose()
    with pytest.raises(FlowError, match="EventLoopScheduler"):
        (from_iterable(range(N)) | map_(str, scheduler=scheduler) | to_list()).run()


def test_scheduler_that_dies_in_mid_run_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(foreign, "PATIENCE", 0.2)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    scheduler = EventLoopScheduler()

    def kill_the_thread(n: int) -> int:
        if n == 3:
            scheduler.schedule(lambda *_: 1 / 0)  # type: ignore[arg-type]  # kills its thread, silently
        return n

    with pytest.raises(FlowError, match="EventLoopScheduler"):
        (from_iterable(range(N)) | map_(kill_the_thread, scheduler=scheduler) | to_list()).run()
    scheduler.dispose()


def test_scheduler_of_the_loop_that_the_flow_blocks_is_refused_with_the_cause(monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        with monkeypatch.context() as patch:
            patch.setattr(foreign, "PATIENCE", 0.1)
            with pytest.raises(FlowError, match=r"AsyncIOThreadSafeScheduler.*loop"):
                (from_iterable(range(3)) | map_(str, scheduler=scheduler) | to_list()).run()
        handle = (from_iterable(range(3)) | map_(str, scheduler=scheduler) | to_list()).start()
        assert await handle == ["0", "1", "2"]

    asyncio.run(main())


def test_trampoline_inside_a_subscribe_is_refused_with_the_cause(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(foreign, "PATIENCE", 0.1)
    flow = from_iterable(range(3)) | map_(str, scheduler=CurrentThreadScheduler.singleton()) | to_list()
    errors: list[Exception] = []

    def run(_: object) -> None:
        try:
            flow.run()
        except FlowError as error:
            errors.append(error)

    reactivex.of(1).subscribe(run)
    assert "subscribe" in str(errors[0])


def test_scheduler_that_may_not_be_called_from_another_thread_is_refused_where_it_is_written():
    loop = asyncio.new_event_loop()
    with pytest.raises(ValueError, match="AsyncIOThreadSafeScheduler"):
        map_(str, scheduler=AsyncIOScheduler(loop))
    loop.close()


async def later(n: int) -> int:
    await asyncio.sleep(0)
    return n * n


def test_coroutines_run_on_the_loop_that_the_user_gives():
    with asyncio_loop() as scheduler:
        seen: set[Any] = set()

        async def note(n: int) -> int:
            seen.add(asyncio.get_running_loop())
            return await later(n)

        flow = from_iterable(range(N)) | map_(note, scheduler=scheduler, concurrency=5) | to_list()
        assert flow.run() == [n * n for n in range(N)]
    assert len(seen) == 1


def test_coroutines_that_nobody_wants_are_cancelled_on_the_loop_that_the_user_gives():
    cancelled, begun = list[int](), threading.Event()

    async def for_ever(n: int) -> int:
        begun.set()
        try:
            await asyncio.sleep(3600 if n % 2 else 0)
        except asyncio.CancelledError:
            cancelled.append(n)
            raise
        return n

    with asyncio_loop() as scheduler:
        step = map_(for_ever, scheduler=scheduler, concurrency=2, timeout=1, on_error="skip")
        assert (from_iterable(range(4)) | step | to_list()).run() == [0, 2]
        assert sorted(cancelled) == [1, 3]
        begun.clear()
        handle = (from_iterable([11]) | map_(for_ever, scheduler=scheduler) | to_list()).start(stop_timeout=0.1)
        assert begun.wait(30)
        with pytest.raises(StopTimeout):
            handle.stop()
        assert cancelled[-1] == 11


def test_coroutines_on_what_runs_none_are_refused():
    for scheduler in (threads(2), NewThreadScheduler(), ImmediateScheduler()):
        with pytest.raises(ValueError, match="event loop of the flow's own"):
            map_(later, scheduler=scheduler)


def test_using_on_a_foreign_scheduler_is_refused():
    with pytest.raises(ValueError, match=r"using.*NewThreadScheduler"):
        map_(using(lambda: ThreadPoolExecutor(1), lambda _, n: n), scheduler=NewThreadScheduler())


@pytest.mark.parametrize("given", [3, "threads", threads])
def test_what_is_no_scheduler_is_refused_by_name(given: Any):
    with pytest.raises(TypeError, match="scheduler"):
        map_(str, scheduler=given)


WRONG: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (TypeError, "concurrency", {"concurrency": "3"}),
    (ValueError, "concurrency", {"concurrency": 0}),
    (TypeError, "concurrency", {"concurrency": True}),
    (TypeError, "ordered", {"concurrency": 3, "ordered": "no"}),
    (TypeError, "key", {"concurrency": 3, "key": 3}),
    (ValueError, "key", {"concurrency": 3, "key": str, "ordered": False}),
    (TypeError, "timeout", {"concurrency": 3, "timeout": "1"}),
    (ValueError, "timeout", {"concurrency": 3, "timeout": -1}),
    (ValueError, "timeout", {"timeout": 1}),
    (ValueError, "key", {"key": str}),
    (ValueError, "ordered", {"ordered": False}),
]


@pytest.mark.parametrize(("kind", "name", "given"), WRONG)
def test_wrong_arguments_are_refused_by_name(kind: type[Exception], name: str, given: dict[str, Any]):
    with pytest.raises(kind, match=name):
        map_(str, **given)


@pytest.mark.parametrize("n", [0, -1])
def test_no_threads_are_refused(n: int):
    with pytest.raises(ValueError, match="n must be at least 1"):
        threads(n)
    with pytest.raises(TypeError, match="n must be a whole number"):
        threads("4")  # type: ignore[arg-type]  # what is refused


def test_steps_compare_by_what_they_were_given():
    assert map_(str, concurrency=3) == map_(str, concurrency=3)
    assert map_(str, concurrency=3) != map_(str, concurrency=4)
    assert map_(str, scheduler=threads(3)) == map_(str, scheduler=threads(3))
    assert repr(from_iterable([1]) | map_(str, concurrency=3, timeout=2.0)).endswith(
        "map_(str, concurrency=3, timeout=2.0)"
    )
