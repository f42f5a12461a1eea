"""Observables as sources: what they emit is read in order, the queue is bounded, stopping unsubscribes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count
from time import sleep
from typing import Any

import pytest
import reactivex
from reactivex import Observable, operators
from reactivex.abc import ObserverBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.scheduler import EventLoopScheduler, NewThreadScheduler
from reactivex.subject import Subject

from flowdsl import (
    Flow,
    FlowDefinitionError,
    FlowError,
    LocalBroker,
    Record,
    StepFailed,
    from_iterable,
    from_observable,
    map_,
    merge,
    sink,
    take,
    tap,
    to_list,
    with_record,
)
from flowdsl.testing import Driver

LONG = 60.0


def emitting(emit: Callable[[ObserverBase[Any], threading.Event], None]) -> tuple[Observable[Any], threading.Event]:
    """An Observable that emits on a thread of its own, and the event that it was disposed of."""
    disposed = threading.Event()

    def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> Disposable:
        thread = threading.Thread(target=emit, args=(observer, disposed), name="test-emitter")
        thread.start()
        return Disposable(disposed.set)

    return reactivex.create(subscribe), disposed


def numbers(observer: ObserverBase[int], disposed: threading.Event) -> None:
    for n in count():
        if disposed.is_set():
            return
        observer.on_next(n)


@pytest.mark.parametrize("n", [0, 1, 5, 3_000])
def test_an_observable_that_emits_inside_subscribe_is_read_to_its_end(n: int) -> None:
    flow = from_observable(reactivex.from_iterable(range(n)), capacity=10) | to_list()
    assert flow.run(timeout=LONG) == list(range(n))


def test_an_observable_on_a_scheduler_of_its_own_is_read_to_its_end() -> None:
    scheduler = EventLoopScheduler()
    try:
        observable = reactivex.from_iterable(range(2_000), scheduler=scheduler)
        assert (from_observable(observable, capacity=7) | to_list()).run(timeout=LONG) == list(range(2_000))
    finally:
        scheduler.dispose()


def test_each_run_subscribes_anew() -> None:
    flow = from_observable(reactivex.of(1, 2)) | to_list()
    assert flow.run() == flow.run() == [1, 2]


def test_records_have_no_topic_and_their_offset_is_the_index() -> None:
    pairs = (from_observable(reactivex.of("a", "b")) | with_record() | to_list()).run()
    records: list[Record[Any]] = [record for _, record in pairs]
    assert records == [Record("", 0, n, None, value) for n, value in enumerate("ab")]


def test_an_endless_observable_is_held_up_and_ends_with_the_flow() -> None:
    assert (from_observable(reactivex.from_iterable(count()), capacity=3) | take(10) | to_list()).run() == list(
        range(10)
    )


def test_an_error_of_the_observable_is_raised_behind_its_values() -> None:
    seen: list[int] = []
    failing = reactivex.concat(reactivex.of(1, 2), reactivex.throw(ArithmeticError("broken")))
    with pytest.raises(ArithmeticError, match="broken"):
        (from_observable(failing) | sink(seen.append)).run(timeout=LONG)
    assert seen == [1, 2]


def test_a_subscribe_that_raises_is_raised_by_the_run() -> None:
    def subscribe(observer: ObserverBase[int], scheduler: SchedulerBase | None = None) -> Disposable:
        raise ArithmeticError("cannot connect")

    with pytest.raises(ArithmeticError, match="cannot connect"):
        (from_observable(reactivex.create(subscribe)) | to_list()).run(timeout=LONG)


def test_a_stop_unsubscribes_and_an_emitter_that_is_held_up_goes_free() -> None:
    observable, disposed = emitting(numbers)
    with (from_observable(observable, capacity=2) | tap(lambda _: sleep(0.001)) | sink(lambda _: None)).start() as run:
        assert run.wait_ready(LONG)
        sleep(0.05)
    assert disposed.is_set()


def test_a_failing_step_unsubscribes() -> None:
    observable, disposed = emitting(numbers)

    def fail(n: int) -> int:
        return 1 // (5 - n)

    with pytest.raises(StepFailed):
        (from_observable(observable) | map_(fail) | to_list()).run(timeout=LONG)
    assert disposed.is_set()


def test_the_queue_is_bounded_where_the_emitter_is_held_up() -> None:
    emitted: list[int] = []
    apart: list[int] = []

    def emit(observer: ObserverBase[int], disposed: threading.Event) -> None:
        for n in range(200):
            emitted.append(n)
            observer.on_next(n)
        observer.on_completed()

    def look(n: int) -> None:
        sleep(0.0005)
        apart.append(len(emitted) - n)

    (from_observable(emitting(emit)[0], capacity=5) | sink(look)).run(timeout=LONG)
    assert len(apart) == 200
    assert max(apart) <= 2 * 5 + 2  # what waits, what was read, and the one in the emitter's hand


def burst(overflow: Any) -> tuple[Flow[int], threading.Event]:
    """Twenty values at once while the flow has its first in hand, and room for five."""
    reached, emitted = threading.Event(), threading.Event()

    def emit(observer: ObserverBase[int], disposed: threading.Event) -> None:
        observer.on_next(0)
        assert reached.wait(LONG)
        for n in range(1, 21):
            observer.on_next(n)
        emitted.set()
        observer.on_completed()

    def hold(n: int) -> int:
        reached.set()
        assert emitted.wait(LONG)
        return n

    return from_observable(emitting(emit)[0], capacity=5, overflow=overflow) | map_(hold), emitted


def test_the_newest_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert (burst("drop_new")[0] | to_list()).run(timeout=LONG) == [0, 1, 2, 3, 4, 5]
    assert "15 values of an observable were dropped" in caplog.text


def test_the_oldest_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert (burst("drop_old")[0] | to_list()).run(timeout=LONG) == [0, 16, 17, 18, 19, 20]
    assert "15 values of an observable were dropped" in caplog.text


def test_overflow_can_be_an_error_behind_the_values_that_waited() -> None:
    seen: list[int] = []
    with pytest.raises(FlowError, match=r'faster than the flow: 5 of its values waited, and overflow is "error"'):
        (burst("error")[0] | sink(seen.append)).run(timeout=LONG)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_an_observable_that_emits_on_the_thread_of_the_flow_works_within_its_capacity() -> None:
    subject: Subject[int] = Subject()

    def again(n: int) -> int:
        if n < 10:
            subject.on_next(n + 1)
        else:
            subject.on_completed()
        return n

    def begin(_: Any) -> None:
        subject.on_next(0)

    starter = from_observable(subject.pipe(operators.do_action()), capacity=5) | map_(again) | to_list()
    run = starter.start(timeout=LONG)
    while not subject.observers:
        sleep(0.001)
    begin(None)
    assert run.result(LONG) == list(range(11))


def test_an_observable_that_emits_too_much_on_the_thread_of_the_flow_is_refused() -> None:
    subject: Subject[int] = Subject()

    def burst_here(n: int) -> None:
        for more in range(10):
            subject.on_next(more)

    run = (from_observable(subject, capacity=5) | sink(burst_here)).start(timeout=LONG)
    while not subject.observers:
        sleep(0.001)
    subject.on_next(0)
    with pytest.raises(FlowError, match="emits on the thread that drives the flow"):
        run.result(LONG)


def test_observables_and_iterables_merge() -> None:
    both = merge(
        from_observable(reactivex.of(1, 2)) | map_(lambda n: n * 10),
        from_iterable([3, 4]),
        from_observable(reactivex.from_iterable([5], scheduler=NewThreadScheduler())),
    )
    assert sorted((both | to_list()).run(timeout=LONG)) == [3, 4, 5, 10, 20]


def test_an_observable_does_not_merge_with_a_broker() -> None:
    with LocalBroker() as broker, pytest.raises(FlowDefinitionError, match="from_iterable and from_observable"):
        merge(from_observable(reactivex.of(b"")), broker.source("t"))


def test_in_a_driver_it_gets_what_is_sent() -> None:
    driver = Driver(from_observable(reactivex.never()) | map_(str) | to_list())
    driver.send(5)
    driver.run_until_idle()
    assert driver.outputs == ["5"]
    driver.close()


def test_flows_of_equal_parts_are_equal_and_print_themselves() -> None:
    observable = reactivex.of(1)
    flow = from_observable(observable, overflow="drop_old")
    assert flow == from_observable(observable, overflow="drop_old") != from_observable(observable)
    assert "from_observable(" in repr(flow)
    explained = (flow | to_list()).explain()
    assert "1,000 values may wait; the oldest is dropped then" in explained


def test_a_preview_subscribes_and_unsubscribes() -> None:
    observable, disposed = emitting(numbers)
    assert len((from_observable(observable) | map_(str)).preview(4)) == 4
    assert disposed.is_set()


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"observable": [1, 2]}, TypeError, "for an iterable there is from_iterable"),
        ({"observable": 5}, TypeError, "observable must be an Observable of reactivex, not 5"),
        ({"capacity": 0}, ValueError, "capacity must be at least 1, but is 0"),
        ({"capacity": "9"}, TypeError, "capacity must be a whole number"),
        ({"overflow": "explode"}, ValueError, "overflow must be 'block' or 'error' or"),
    ],
)
def test_wrong_arguments_are_refused(given: dict[str, Any], error: type[Exception], told: str) -> None:
    arguments: dict[str, Any] = {"observable": reactivex.of(1), **given}
    with pytest.raises(error, match=told):
        from_observable(**arguments)


@pytest.fixture(autouse=True)
def _quiet_emitters() -> Iterator[None]:
    """Emitters end with their subscription."""
    yield
    for thread in threading.enumerate():
        if thread.name == "test-emitter":
            thread.join(LONG)
