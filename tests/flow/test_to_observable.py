"""Flows as Observables: cold, an offset moves when ``on_next`` has returned, ``dispose`` is a clean stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import pytest
import reactivex
from reactivex import operators
from reactivex.abc import DisposableBase

from flowdsl import (
    JSON,
    Flow,
    FlowDefinitionError,
    Fragment,
    LocalBroker,
    StepFailed,
    batch,
    filter_,
    from_iterable,
    immediately,
    map_,
    tap,
)

LONG = 60.0


@pytest.fixture(name="broker")
def _broker() -> Iterator[LocalBroker]:
    with LocalBroker() as broker:
        broker.write("numbers", range(10), encode=JSON)
        yield broker


def source(broker: LocalBroker) -> Flow[Any]:
    return broker.source("numbers", group_id="g", decode=JSON)


class Observed:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.error: Exception | None = None
        self.completed = False
        self.over = threading.Event()

    def on_next(self, value: Any) -> None:
        self.values.append(value)

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.over.set()

    def on_completed(self) -> None:
        self.completed = True
        self.over.set()


def subscribed(flow: Flow[Any], observer: Observed, **given: Any) -> DisposableBase:
    return flow.to_observable(**given).subscribe(observer.on_next, observer.on_error, observer.on_completed)


def wait_until(happened: Any) -> None:
    until = monotonic() + LONG
    while not happened():
        assert monotonic() < until, "it did not happen"
        sleep(0.002)


def committed(broker: LocalBroker) -> int:
    return sum(broker.committed("g").values())


def test_values_arrive_in_order_and_then_the_end(broker: LocalBroker) -> None:
    observer = Observed()
    subscribed(source(broker) | map_(lambda n: n * 2), observer, until="end")
    assert observer.over.wait(LONG)
    assert observer.values == [2 * n for n in range(10)]
    assert observer.completed
    assert committed(broker) == 10


def test_it_is_cold_and_each_subscription_is_a_run_of_its_own() -> None:
    runs: list[int] = []

    def values() -> Iterator[int]:
        runs.append(1)
        yield from range(3)

    observable = from_iterable(values).to_observable()
    assert runs == []
    assert observable.pipe(operators.to_list()).run() == [0, 1, 2]
    assert observable.pipe(operators.sum()).run() == 3
    assert len(runs) == 2


def test_an_offset_moves_when_on_next_has_returned(broker: LocalBroker) -> None:
    inside, leave = threading.Event(), threading.Event()

    class Slow(Observed):
        def on_next(self, value: Any) -> None:
            super().on_next(value)
            if value == 4:
                inside.set()
                assert leave.wait(LONG)

    observer = Slow()
    subscribed(source(broker), observer, until="end", commit=immediately)
    assert inside.wait(LONG)
    sleep(0.05)
    assert committed(broker) <= 4
    leave.set()
    assert observer.over.wait(LONG)
    assert committed(broker) == 10


def tell_beyond(beyond: threading.Event) -> Fragment[Any, Any]:
    """Sets the event at what was written later: what came before has left ``on_next``, and was not only seen there."""

    def look(n: int) -> None:
        if n >= 10:
            beyond.set()

    return tap(look)


def test_dispose_is_a_clean_stop(broker: LocalBroker) -> None:
    observer, beyond = Observed(), threading.Event()
    subscription = subscribed(source(broker) | tell_beyond(beyond) | filter_(lambda n: n < 10), observer)
    wait_until(lambda: len(observer.values) == 10)
    broker.write("numbers", [10], encode=JSON)
    assert beyond.wait(LONG)
    subscription.dispose()
    assert committed(broker) >= 10
    assert not observer.over.is_set()
    subscription.dispose()


def test_what_is_held_back_at_a_dispose_is_read_again(broker: LocalBroker) -> None:
    observer, beyond = Observed(), threading.Event()
    subscription = subscribed(source(broker) | tell_beyond(beyond) | batch(8), observer)
    wait_until(lambda: len(observer.values) == 1)
    broker.write("numbers", [10], encode=JSON)
    assert beyond.wait(LONG)
    subscription.dispose()
    assert observer.values == [list(range(8))]
    assert committed(broker) == 8
    again = Observed()
    subscribed(source(broker), again, until="end")
    assert again.over.wait(LONG)
    assert again.values == [8, 9, 10]


def test_dispose_within_on_next_counts_that_value_as_done(broker: LocalBroker) -> None:
    assert source(broker).to_observable().pipe(operators.take(3), operators.to_list()).run() == [0, 1, 2]
    wait_until(lambda: committed(broker) == 3)


def test_a_subscription_inside_another_one_works() -> None:
    inner = from_iterable([1, 2]).to_observable()
    outer = reactivex.of("a", "b").pipe(
        operators.concat_map(lambda name: inner.pipe(operators.map(lambda n: (name, n)))), operators.to_list()
    )
    assert outer.run() == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_dispose_does_not_wait_for_an_observer_that_waits_for_it(broker: LocalBroker) -> None:
    inside, leave = threading.Event(), threading.Event()

    class Waiting(Observed):
        def on_next(self, value: Any) -> None:
            super().on_next(value)
            inside.set()
            assert leave.wait(LONG)

    observer = Waiting()
    subscription = subscribed(source(broker), observer)
    assert inside.wait(LONG)
    subscription.dispose()
    leave.set()
    wait_until(lambda: not any(thread.name == "flowdsl-observed" for thread in threading.enumerate()))
    assert observer.values == [0]
    assert committed(broker) == 0  # nobody knows whether the observer saw it before it was disposed of


def test_what_the_run_raises_arrives_in_on_error(broker: LocalBroker) -> None:
    observer = Observed()
    subscribed(source(broker) | map_(lambda n: 1 // (n - 5)), observer)
    assert observer.over.wait(LONG)
    assert isinstance(observer.error, StepFailed)
    assert isinstance(observer.error.__cause__, ZeroDivisionError)
    assert len(observer.values) == 5
    assert committed(broker) == 5


def test_faults_of_the_flow_arrive_in_on_error() -> None:
    flow = from_iterable(iter([1]))
    assert flow.to_observable().run() == 1
    observer = Observed()
    subscribed(flow, observer)
    assert isinstance(observer.error, FlowDefinitionError)


def test_an_observer_that_raises_ends_the_run_and_its_value_is_read_again(broker: LocalBroker) -> None:
    class Failing(Observed):
        def on_next(self, value: Any) -> None:
            super().on_next(value)
            if value == 3:
                raise ArithmeticError("observer")

    observer = Failing()
    subscribed(source(broker), observer)
    assert observer.over.wait(LONG)
    assert isinstance(observer.error, StepFailed)
    assert isinstance(observer.error.__cause__, ArithmeticError)
    assert observer.values == [0, 1, 2, 3]
    assert committed(broker) == 3


def test_wrong_arguments_are_refused_at_once(broker: LocalBroker) -> None:
    with pytest.raises(ValueError, match="count must be at least 1"):
        source(broker).to_observable(count=0)


def test_bounds_are_those_of_run(broker: LocalBroker) -> None:
    assert source(broker).to_observable(count=4).pipe(operators.to_list()).run() == [0, 1, 2, 3]
