"""Slow work: many values at once, in the order that was asked for, with offsets for what is done and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from time import sleep
from typing import Any

import pytest

from flowdsl import (
    JSON,
    ClosedFlow,
    Flow,
    FlowError,
    LocalBroker,
    Partition,
    StepFailed,
    StopTimeout,
    Topic,
    filter_,
    flat_map,
    from_iterable,
    map_,
    sink,
    tap,
    threads,
    to_list,
    using,
)

N = 40


def awaitable(function: Callable[[int], Any]) -> Callable[[int], Any]:
    async def later(n: int) -> Any:
        await asyncio.sleep(0)
        return function(n)

    return later


def square(n: int) -> int:
    sleep(0.001 * (n % 5))
    return n * n


async def later_square(n: int) -> int:
    await asyncio.sleep(0.001 * (n % 5))
    return n * n


FUNCTIONS = [square, later_square]
ORDERS: list[dict[str, Any]] = [{}, {"ordered": False}, {"key": lambda n: n % 3}]


@pytest.mark.parametrize("order", ORDERS, ids=["ordered", "unordered", "key"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("concurrency", [1, 2, 64])
def test_every_value_arrives_once(function: Callable[[int], Any], concurrency: int, order: dict[str, Any]):
    flow = from_iterable(range(N)) | map_(function, concurrency=concurrency, **order) | to_list()
    results = flow.run()
    assert sorted(results) == [n * n for n in range(N)]
    if not order:
        assert results == sorted(results)
    if "key" in order:
        roots = [round(n**0.5) for n in results]
        for key in range(3):
            of_key = [n for n in roots if n % 3 == key]
            assert of_key == sorted(of_key)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_results_pass_each_other_where_order_is_given_up(function: Callable[[int], Any]):
    others, behind = asyncio.Event(), count(1)

    async def last_of_all(n: int) -> int:
        if n == 0:
            await asyncio.wait_for(others.wait(), 30)
        elif next(behind) == 4:
            others.set()
        return n

    results = (from_iterable(range(5)) | map_(last_of_all, concurrency=5, ordered=False) | to_list()).run()
    assert results[-1] == 0


def test_a_slow_value_holds_up_no_other_key():
    go = threading.Event()
    seen: list[int] = []

    def wait_for_the_others(n: int) -> int:
        if n == 0:
            assert go.wait(30)
        return n

    def note(n: int) -> None:
        seen.append(n)
        if len(seen) == 19:
            go.set()

    flow = from_iterable(range(20)) | map_(wait_for_the_others, concurrency=2, key=lambda n: n) | sink(note)
    flow.run()
    assert seen[-1] == 0
    assert sorted(seen) == list(range(20))


def test_no_more_than_concurrency_run_at_once_and_that_many_do():
    running, most, lock, all_run = 0, 0, threading.Lock(), threading.Event()

    def busy(n: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 6:
                all_run.set()
        assert all_run.wait(30)
        sleep(0.005)
        with lock:
            running -= 1
        return n

    assert (from_iterable(range(60)) | map_(busy, concurrency=6) | to_list()).run() == list(range(60))
    assert most == 6


def test_no_more_coroutines_than_concurrency_run_at_once():
    running, most = 0, 0

    async def busy(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return n

    assert (from_iterable(range(60)) | map_(busy, concurrency=6) | to_list()).run() == list(range(60))
    assert most == 6
    most = 0
    assert (from_iterable(range(5)) | map_(busy) | to_list()).run() == list(range(5))
    assert most == 1


OPERATORS: list[tuple[Callable[..., Any], Callable[[int], Any], list[int]]] = [
    (map_, lambda n: n + 1, [1, 2, 3, 4, 5]),
    (filter_, lambda n: n % 2, [1, 3]),
    (tap, lambda n: n + 1, [0, 1, 2, 3, 4]),
    (flat_map, lambda n: (n for _ in range(2)), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
]


@pytest.mark.parametrize(("operator", "function", "expected"), OPERATORS)
def test_every_operator_takes_concurrency(operator: Callable[..., Any], function: Any, expected: list[int]):
    async def later(n: int) -> Any:
        result = function(n)
        return list(result) if operator is flat_map else result

    assert (from_iterable(range(5)) | operator(function, concurrency=3) | to_list()).run() == expected
    assert (from_iterable(range(5)) | operator(function, scheduler=threads(3)) | to_list()).run() == expected
    assert (from_iterable(range(5)) | operator(later, concurrency=3) | to_list()).run() == expected
    assert (from_iterable(range(5)) | operator(later) | to_list()).run() == expected


@pytest.mark.parametrize("function", ["plain", "coroutine"])
def test_a_sink_gets_every_value(function: str):
    seen: list[int] = []

    async def later(n: int) -> None:
        seen.append(n)

    flow: ClosedFlow[Any] = from_iterable(range(9)) | sink(seen.append if function == "plain" else later, concurrency=4)
    assert flow.run().delivered == 9
    assert sorted(seen) == list(range(9))


def orders(count: int) -> tuple[LocalBroker, Flow[int]]:
    broker = LocalBroker()
    broker.write("orders", range(count), encode=JSON)
    return broker, broker.source("orders", group_id="g", decode=JSON)


ORDERS_PARTITION = Partition(Topic("orders"), 0)


@pytest.mark.parametrize("make", [lambda f: f, awaitable], ids=["threads", "coroutines"])
def test_an_error_surfaces_at_the_position_of_its_record(make: Callable[[Any], Any]):
    def fail_at_seven(n: int) -> int:
        if n == 7:
            msg = "seven"
            raise ValueError(msg)
        return n

    broker, source = orders(20)
    seen: list[int] = []
    with pytest.raises(StepFailed, match="seven") as failed:
        (source | map_(make(fail_at_seven), concurrency=4) | sink(seen.append)).run(until="end")
    assert failed.value.offset == 7
    assert failed.value.input == 7
    assert isinstance(failed.value.__cause__, ValueError)
    assert seen == list(range(7))
    assert broker.committed("g") == {ORDERS_PARTITION: 7}


@pytest.mark.parametrize("order", ORDERS, ids=["ordered", "unordered", "key"])
def test_a_failing_record_is_skipped_in_its_place(order: dict[str, Any]):
    def fail_on_threes(n: int) -> int:
        if n % 3 == 0:
            raise ValueError(n)
        return n

    broker, source = orders(20)
    flow = source | map_(fail_on_threes, concurrency=4, on_error="skip", **order) | to_list()
    handle = flow.start(until="end")
    assert sorted(handle.result(60)) == [n for n in range(20) if n % 3]
    assert handle.stats.failed == 7
    assert broker.committed("g") == {ORDERS_PARTITION: 20}


def test_no_offset_is_committed_ahead_of_one_that_is_not_done():
    release = threading.Event()

    def wait_at_three(n: int) -> int:
        if n == 3:
            release.wait(30)
        return n

    broker, source = orders(50)
    seen: list[int] = []
    flow = source | map_(wait_at_three, concurrency=8, ordered=False) | sink(seen.append)
    handle = flow.start(stop_timeout=0.5)
    while len(seen) < 49:
        sleep(0.01)
    with pytest.raises(StopTimeout):
        handle.stop(30)
    release.set()
    assert broker.committed("g") == {ORDERS_PARTITION: 3}


def test_what_exceeds_its_time_is_a_failing_record():
    release = threading.Event()

    def wait_at_three(n: int) -> int:
        if n == 3:
            release.wait(30)
        return n

    broker, source = orders(20)
    flow = source | map_(wait_at_three, concurrency=2, timeout=0.3, on_error="skip") | to_list()
    assert flow.run(until="end", stop_timeout=0.5) == [n for n in range(20) if n != 3]
    assert broker.committed("g") == {ORDERS_PARTITION: 20}
    release.set()


def test_a_coroutine_that_exceeds_its_time_is_cancelled():
    cancelled: list[int] = []

    async def wait_at_three(n: int) -> int:
        try:
            await asyncio.sleep(60 if n == 3 else 0)
        except asyncio.CancelledError:
            cancelled.append(n)
            raise
        return n

    with pytest.raises(StepFailed, match=r"within 3 s") as failed:
        (from_iterable(range(9)) | map_(wait_at_three, concurrency=2, timeout=3.0) | to_list()).run()
    assert isinstance(failed.value.__cause__, TimeoutError)
    assert failed.value.offset == 3
    assert cancelled == [3]


def test_too_many_threads_that_never_return_end_the_run_and_name_the_function():
    release = threading.Event()

    def never_return(_: int) -> None:
        release.wait(60)

    flow = from_iterable(range(9)) | map_(never_return, concurrency=2, timeout=0.05, on_error="skip") | to_list()
    with pytest.raises(FlowError, match="never_return"):
        flow.run(stop_timeout=0.2)
    release.set()


def test_an_interrupt_out_of_a_worker_ends_the_run_and_is_raised():
    def leave(n: int) -> int:
        if n == 5:
            raise SystemExit(3)
        return n

    broker, source = orders(20)
    with pytest.raises(SystemExit):
        (source | map_(leave, concurrency=2) | to_list()).run(until="end", stop_timeout=5)
    assert broker.committed("g").get(ORDERS_PARTITION, 0) <= 5


class Resource:
    """Counts what is open."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.threads: set[int] = set()

    def __call__(self) -> Any:
        return self

    def __enter__(self) -> int:
        self.opened += 1
        self.threads.add(threading.get_ident())
        return 10

    def __exit__(self, *_: object) -> None:
        self.closed += 1
        assert threading.get_ident() in self.threads


class AsyncResource(Resource):
    async def __aenter__(self) -> int:
        self.loop = asyncio.get_running_loop()
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.__exit__()

    def __call__(self) -> Any:
        return _OnlyAsync(self)


class _OnlyAsync:
    def __init__(self, inner: AsyncResource) -> None:
        self.inner = inner

    async def __aenter__(self) -> int:
        return await self.inner.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await self.inner.__aexit__()


def plus(ten: int, n: int) -> int:
    return ten + n


async def later_plus(ten: int, n: int) -> int:
    return ten + n


@pytest.mark.parametrize("resource", [Resource, AsyncResource])
def test_a_resource_is_opened_once_for_coroutines_and_closed_at_the_end(resource: Callable[[], Any]):
    one = resource()
    assert (from_iterable(range(5)) | map_(using(one, later_plus), concurrency=3) | to_list()).run() == [
        10,
        11,
        12,
        13,
        14,
    ]
    assert (one.opened, one.closed) == (1, 1)


def test_a_resource_is_opened_once_in_each_thread_and_closed_there():
    one = Resource()
    flow = from_iterable(range(50)) | map_(using(one, plus), concurrency=3) | to_list()
    assert flow.run() == [10 + n for n in range(50)]
    assert one.opened == one.closed == len(one.threads)
    assert 1 <= one.opened <= 3


def test_a_resource_is_closed_when_the_run_fails():
    def fail(ten: int, n: int) -> int:
        raise ValueError(n)

    one = Resource()
    with pytest.raises(StepFailed):
        (from_iterable(range(5)) | map_(using(one, fail), concurrency=2) | to_list()).run()
    assert one.opened == one.closed >= 1


def test_a_resource_that_cannot_be_opened_ends_the_run():
    def broken() -> Any:
        msg = "no connection"
        raise OSError(msg)

    for function in (plus, later_plus):
        with pytest.raises(FlowError, match="no connection") as failed:
            (from_iterable(range(5)) | map_(using(broken, function), concurrency=2) | to_list()).run()
        assert isinstance(failed.value.__cause__, OSError)


def test_a_resource_that_cannot_be_closed_fails_the_run():
    @contextmanager
    def broken() -> Iterator[int]:
        yield 10
        raise OSError("gone")

    with pytest.raises(FlowError, match=r"resource of the step 'plus' could not be closed: OSError: gone") as failed:
        (from_iterable(range(5)) | map_(using(broken, plus), concurrency=2) | to_list()).run()
    assert isinstance(failed.value.__cause__, OSError)


def test_a_thread_that_never_returns_is_left_behind_with_a_warning(caplog: pytest.LogCaptureFixture):
    release, began = threading.Event(), threading.Event()

    def never(n: int) -> int:
        began.set()
        release.wait(60)
        return n

    _, source = orders(5)
    handle = (source | map_(never, concurrency=2) | to_list()).start(stop_timeout=0.2)
    assert began.wait(30)
    with pytest.raises(StopTimeout):
        handle.stop(30)
    release.set()
    assert "2 calls of" in caplog.text or "1 calls of" in caplog.text
    assert "never" in caplog.text


def test_a_stop_waits_for_what_has_begun_and_leaves_the_rest_for_the_next_run():
    began = threading.Event()

    def slow(n: int) -> int:
        began.set()
        sleep(0.3)
        return n

    broker, source = orders(200)
    seen: list[int] = []
    with (source | map_(slow, concurrency=2) | sink(seen.append)).start() as handle:
        assert began.wait(30)
        handle.stop(30)
    assert 1 <= len(seen) <= 20
    assert broker.committed("g") == {ORDERS_PARTITION: len(seen)}
