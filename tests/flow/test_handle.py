"""``start``: a run in a thread, and what its handle can do, from threads and from inside an event loop."""

from __future__ import annotations

import asyncio
import math
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event, Timer
from time import monotonic
from typing import Any

import pytest

from flowdsl import (
    TEXT,
    ClosedFlow,
    FlowError,
    LocalBroker,
    Partition,
    RunHandle,
    RunTimeout,
    Stats,
    StepFailed,
    StopTimeout,
    Topic,
    from_iterable,
    map_,
    never,
    sink,
    to_list,
)

ORDERS = Partition(Topic("orders"), 0)
PATIENCE = 60.0
SOON = 0.1


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as made:
        made.write("orders", ["1", "2", "3"])
        yield made


class Gathered:
    """A sink that tells when it has so many values."""

    def __init__(self, wanted: int = 3) -> None:
        self.values: list[str] = []
        self.wanted, self.full = wanted, Event()

    def __call__(self, value: str) -> None:
        self.values.append(value)
        if len(self.values) >= self.wanted:
            self.full.set()


class Stuck:
    """A sink that holds its first value until it is released."""

    def __init__(self) -> None:
        self.begun, self.release = Event(), Event()

    def __call__(self, value: str) -> None:
        self.begun.set()
        assert self.release.wait(PATIENCE)


def flow_into(broker: LocalBroker, target: Callable[[str], None]) -> ClosedFlow[Stats]:
    return broker.source("orders", group_id="g", decode=TEXT) | sink(target)


def failing(broker: LocalBroker) -> ClosedFlow[Stats]:
    return broker.source("orders", group_id="g", decode=TEXT) | map_(lambda v: 1 // (int(v) - 2)) | sink(lambda _: None)


# -- the end, and what comes of it ----------------------------------------------------------------------------------------


def test_stop_drains_commits_and_returns_what_run_would(broker: LocalBroker) -> None:
    gathered = Gathered()
    handle = flow_into(broker, gathered).start()
    assert gathered.full.wait(PATIENCE)
    assert handle.running
    stats = handle.stop(timeout=10.0)
    assert isinstance(stats, Stats)
    assert (stats.delivered, stats.committed, handle.running) == (3, {ORDERS: 3}, False)
    assert broker.committed("g") == {ORDERS: 3}
    assert handle.stop() == handle.result() == stats


def test_result_is_the_list_of_to_list(broker: LocalBroker) -> None:
    handle: RunHandle[list[str]] = (broker.source("orders", group_id="g", decode=TEXT) | to_list()).start(until="end")
    assert handle.result(timeout=timedelta(seconds=PATIENCE)) == ["1", "2", "3"]
    assert handle.result() == handle.stop() == ["1", "2", "3"]


@pytest.mark.parametrize("ask", [RunHandle.stop, RunHandle.result])
def test_what_the_flow_raised_is_raised_each_time_it_is_asked(
    broker: LocalBroker, ask: Callable[[RunHandle[Any]], Any]
) -> None:
    handle = failing(broker).start()
    assert handle.join(PATIENCE)
    for _ in range(2):
        with pytest.raises(StepFailed) as raised:
            ask(handle)
        assert (raised.value.offset, type(raised.value.__cause__)) == (1, ZeroDivisionError)
    assert broker.committed("g") == {ORDERS: 1}


def test_join_waits_and_raises_nothing(broker: LocalBroker) -> None:
    stuck = Stuck()
    handle = flow_into(broker, stuck).start(count=1)
    assert stuck.begun.wait(PATIENCE)
    assert handle.join(timeout=SOON) is False
    stuck.release.set()
    assert handle.join() is True
    assert failing(broker).start().join(PATIENCE) is True


def test_stop_that_runs_out_raises_and_the_run_goes_on_ending(broker: LocalBroker) -> None:
    stuck = Stuck()
    handle = flow_into(broker, stuck).start()
    assert stuck.begun.wait(PATIENCE)
    with pytest.raises(StopTimeout, match=r"0\.1 s"):
        handle.stop(timeout=SOON)
    assert handle.running
    stuck.release.set()
    assert handle.result(PATIENCE).delivered == 1
    assert broker.committed("g") == {ORDERS: 1}


def test_result_that_runs_out_raises_and_the_run_goes_on(broker: LocalBroker) -> None:
    gathered = Gathered(wanted=4)
    handle = flow_into(broker, gathered).start()
    with pytest.raises(RunTimeout, match=r"0\.1 s"):
        handle.result(timeout=SOON)
    broker.write("orders", ["4"])
    assert gathered.full.wait(PATIENCE)
    handle.stop()


def test_timeout_error_of_a_users_function_is_not_taken_for_ours(broker: LocalBroker) -> None:
    def late(_: str) -> None:
        raise TimeoutError("the database did not answer")

    with pytest.raises(StepFailed) as raised:
        flow_into(broker, late).start().result(PATIENCE)
    assert isinstance(raised.value.__cause__, TimeoutError)


def test_drain_that_does_not_end_is_a_stop_timeout_and_nothing_of_it_is_committed(broker: LocalBroker) -> None:
    begun, release = Event(), Event()

    def slow(value: str) -> None:
        begun.set()
        assert release.wait(PATIENCE)

    handle = flow_into(broker, slow).start(count=3, stop_timeout=SOON)
    assert begun.wait(PATIENCE)
    with pytest.raises(StopTimeout):
        handle.stop(timeout=SOON)
    release.set()
    handle.join()
    assert broker.committed("g") == {ORDERS: 1}  # the record in hand is finished, the others are not begun


def test_stop_without_a_limit_waits_for_threads_as_long_as_they_take(broker: LocalBroker) -> None:
    begun, release = Event(), Event()

    def slow(value: str) -> str:
        begun.set()
        assert release.wait(PATIENCE)
        return value

    flow = broker.source("orders", group_id="g", decode=TEXT) | map_(slow, concurrency=2) | to_list()
    handle = flow.start(stop_timeout=math.inf, timeout=timedelta.max)
    assert handle.wait_ready(math.inf)
    assert begun.wait(PATIENCE)
    Timer(SOON, release.set).start()
    values = handle.stop(timeout=math.inf)
    assert values
    assert values == ["1", "2", "3"][: broker.committed("g")[ORDERS]]
    assert handle.join(math.inf)


def test_interrupt_of_a_users_function_comes_out_of_the_result(broker: LocalBroker) -> None:
    def leave(_: str) -> None:
        raise SystemExit(3)

    handle = flow_into(broker, leave).start()
    assert handle.join(PATIENCE)
    with pytest.raises(SystemExit) as raised:
        handle.result()
    assert raised.value.code == 3


def test_flow_that_cannot_start_says_so_in_its_result(broker: LocalBroker) -> None:
    handle = (broker.source("nowhere", group_id="g") | to_list()).start()
    assert not handle.wait_ready(PATIENCE)
    with pytest.raises(FlowError, match="nowhere"):
        handle.result(PATIENCE)


# -- while it runs --------------------------------------------------------------------------------------------------------


def test_ready_means_assigned_with_the_beginning_committed(broker: LocalBroker) -> None:
    flow = broker.source("orders", group_id="g", start="latest", decode=TEXT) | to_list()
    handle = flow.start()
    assert handle.wait_ready(timeout=PATIENCE) is True
    assert broker.committed("g") == {ORDERS: 3}
    broker.write("orders", ["4"])
    while not handle.stats.read:
        assert not handle.join(0.01)
    assert handle.stop() == ["4"]


def test_ready_in_time_is_not_ready_later(broker: LocalBroker) -> None:
    stuck = Stuck()
    with flow_into(broker, stuck).start() as handle:
        assert stuck.begun.wait(PATIENCE)
        assert handle.wait_ready(0) is True
        stuck.release.set()
    assert handle.wait_ready() is True


def test_member_that_gets_no_partition_is_ready_too_and_takes_over_later(broker: LocalBroker) -> None:
    before, gathered = Gathered(), Gathered(wanted=1)
    first = flow_into(broker, before).start()
    assert before.full.wait(PATIENCE)
    with flow_into(broker, gathered).start() as second:
        assert second.wait_ready(PATIENCE)
        assert [(step.name, step.received) for step in second.stats.steps] == [("source", 0), ("Gathered", 0)]
        first.stop()
        broker.write("orders", ["4"])
        assert gathered.full.wait(PATIENCE)
    assert gathered.values == ["4"]


def test_stats_can_be_read_while_it_runs(broker: LocalBroker) -> None:
    with flow_into(broker, Gathered()).start(commit=never) as handle:
        until = monotonic() + PATIENCE
        while handle.stats.read < 3:
            assert not handle.join(0.01)
            assert monotonic() < until
        stats = handle.stats
        assert (stats.read, stats.committed) == (3, {})
        assert stats.elapsed <= handle.stats.elapsed


def test_handle_shows_whether_it_runs(broker: LocalBroker) -> None:
    with flow_into(broker, Gathered()).start() as handle:
        assert repr(handle) == "<run of source, running>"
    assert repr(handle) == "<run of source, ended>"


def test_stop_from_inside_the_run_is_refused_instead_of_waiting_for_itself(broker: LocalBroker) -> None:
    handles: list[RunHandle[Stats]] = []
    started = Event()

    def stop_it(_: str) -> None:
        assert started.wait(PATIENCE)
        handles[0].stop()

    handles.append(flow_into(broker, stop_it).start())
    started.set()
    with pytest.raises(StepFailed, match="from within the run"):
        handles[0].result(PATIENCE)


@pytest.mark.parametrize("method", ["stop", "result", "join", "wait_ready"])
def test_wrong_timeouts_are_named(broker: LocalBroker, method: str) -> None:
    with flow_into(broker, Gathered()).start() as handle:
        with pytest.raises(ValueError, match="timeout must not be negative, but is -1"):
            getattr(handle, method)(timeout=-1)
        with pytest.raises(TypeError, match="timeout must be a number of seconds or a timedelta, not 'soon'"):
            getattr(handle, method)("soon")
        assert handle.running


# -- with -----------------------------------------------------------------------------------------------------------------


def test_with_stops_it_at_the_end(broker: LocalBroker) -> None:
    gathered = Gathered()
    with flow_into(broker, gathered).start() as handle:
        assert gathered.full.wait(PATIENCE)
    assert not handle.running
    assert broker.committed("g") == {ORDERS: 3}


def test_with_raises_what_the_flow_raised(broker: LocalBroker) -> None:
    with pytest.raises(StepFailed), failing(broker).start() as handle:
        handle.join(PATIENCE)


def test_error_of_the_body_goes_before_that_of_the_flow(broker: LocalBroker) -> None:
    handle = failing(broker).start()
    with pytest.raises(KeyError, match="mine"):
        _raise_inside(handle)
    assert not handle.running


def _raise_inside(handle: RunHandle[Stats]) -> None:
    with handle:
        handle.join(PATIENCE)
        raise KeyError("mine")


# -- inside an event loop -------------------------------------------------------------------------------------------------


def test_await_gives_the_result_and_the_loop_goes_on(broker: LocalBroker) -> None:
    async def main() -> tuple[list[str], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        handle = (broker.source("orders", group_id="g", decode=TEXT) | to_list()).start(until="end")
        result = await handle
        ticking.cancel()
        return result, ticks

    result, ticks = asyncio.run(main())
    assert result == ["1", "2", "3"]
    assert ticks > 0


def test_await_raises_what_the_flow_raised(broker: LocalBroker) -> None:
    async def main() -> None:
        await failing(broker).start()

    with pytest.raises(StepFailed):
        asyncio.run(main())


def test_async_with_stops_it_at_the_end(broker: LocalBroker) -> None:
    gathered = Gathered()

    async def main() -> RunHandle[Stats]:
        async with flow_into(broker, gathered).start() as handle:
            assert await asyncio.to_thread(gathered.full.wait, PATIENCE)
        return handle

    assert not asyncio.run(main()).running
    assert broker.committed("g") == {ORDERS: 3}


def test_async_with_raises_what_the_flow_raised_unless_the_body_did(broker: LocalBroker) -> None:
    async def main(error: Exception | None) -> None:
        async with failing(broker).start() as handle:
            assert await asyncio.to_thread(handle.join, PATIENCE)
            if error is not None:
                raise error

    with pytest.raises(StepFailed):
        asyncio.run(main(None))
    with pytest.raises(KeyError):
        asyncio.run(main(KeyError()))


def test_wait_that_is_given_up_does_not_end_the_run(broker: LocalBroker) -> None:
    gathered = Gathered(wanted=4)

    async def main() -> Stats:
        handle = flow_into(broker, gathered).start()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_awaited(handle), SOON)
        broker.write("orders", ["4"])
        assert await asyncio.to_thread(gathered.full.wait, PATIENCE)
        return handle.stop()

    assert asyncio.run(main()).delivered == 4


async def _awaited(handle: RunHandle[Stats]) -> Stats:
    return await handle


def test_run_works_inside_a_running_event_loop(broker: LocalBroker) -> None:
    async def main() -> list[str]:
        return (broker.source("orders", group_id="g", decode=TEXT) | to_list()).run(until="end")

    assert asyncio.run(main()) == ["1", "2", "3"]


# -- signals and threads --------------------------------------------------------------------------------------------------


def test_start_installs_no_signal_handlers(broker: LocalBroker) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    gathered = Gathered()
    with flow_into(broker, gathered).start():
        assert gathered.full.wait(PATIENCE)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_run_works_in_a_thread_where_no_handler_can_be_installed() -> None:
    results: list[list[int]] = []
    thread = threading.Thread(target=lambda: results.append((from_iterable([1, 2]) | to_list()).run()))
    thread.start()
    thread.join(PATIENCE)
    assert results == [[1, 2]]


def test_two_runs_of_one_flow_share_nothing() -> None:
    flow = from_iterable(range(100)) | to_list()
    handles = [flow.start() for _ in range(3)]
    assert [handle.result(PATIENCE) for handle in handles] == [list(range(100))] * 3
