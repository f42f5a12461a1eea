"""Steps that call functions run as one loop: the same as plain Python, whatever fails, and with the same counts."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowdsl import (
    Flow,
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    batch,
    dead_letter,
    filter_,
    from_iterable,
    map_,
    scan,
    sink,
    tap,
)
from flowdsl.stages.calls import MOST_TYPES

WORDS = ("map", "filter", "tap", "scan")


class Fault(Exception):
    """What a function raises."""


class Plain:
    """The steps as plain Python: each says of a value what goes on, or raises."""

    def __init__(self, words: list[str], failing: set[tuple[int, int]], error: type[BaseException] = Fault) -> None:
        self.words, self.failing, self.error = words, failing, error

    def call(self, n: int, value: tuple[int, int]) -> Any:
        """What the user's function of step n returns. A value is the number of its record, and how often it was mapped."""
        record, mapped = value
        if (n, record) in self.failing:
            raise self.error
        return (record, mapped + 1) if self.words[n] in {"map", "scan"} else (record + n) % 3 != 0

    def expected(self, records: int) -> tuple[list[Any], list[tuple[int, Any]], list[list[int]]]:
        """What arrives, which inputs fail in which step, and for each step what it received, emitted, failed."""
        arrived, failed, counts = [], [], [[0, 0, 0] for _ in self.words]
        for record in range(records):
            value = (record, 0)
            for n, word in enumerate(self.words):
                try:
                    result = self.call(n, value)
                except self.error:
                    counts[n][0] += 1
                    counts[n][2] += 1
                    failed.append((n, value))
                    break
                counts[n][0] += 1
                if word == "filter" and not result:
                    break
                counts[n][1] += 1
                value = result if word in {"map", "scan"} else value
            else:
                arrived.append(value)
        return arrived, failed, counts

    def steps(self) -> list[Any]:
        """The same as operators."""
        made: list[Any] = []
        for n, word in enumerate(self.words):

            def called(value: Any, n: int = n) -> Any:
                return self.call(n, value)

            if word == "scan":
                made.append(scan(lambda _, value, f=called: f(value), None, name=f"s{n}", on_error="skip"))
            else:
                make: Callable[..., Any] = {"map": map_, "filter": filter_, "tap": tap}[word]
                made.append(make(called, name=f"s{n}", on_error="skip"))
        return made


def piped(flow: Flow[Any], steps: list[Any]) -> Any:
    for step in steps:
        flow = flow | step
    return flow


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=7),
    st.sets(st.tuples(st.integers(0, 6), st.integers(0, 19))),
    st.integers(1, 20),
)
def test_steps_that_fail_and_filter_do_what_plain_python_does(
    words: list[str], failing: set[tuple[int, int]], records: int
) -> None:
    plain = Plain(words, failing)
    arrived, _, counts = plain.expected(records)
    got: list[Any] = []
    values = [(n, 0) for n in range(records)]
    stats = (piped(from_iterable(values), plain.steps()) | sink(got.append)).run()
    assert got == arrived
    told = {step.name: (step.received, step.emitted) for step in stats.steps}
    assert [told[f"s{n}"] for n in range(len(words))] == [(received, emitted) for received, emitted, _ in counts]
    assert stats.failed == sum(failed for _, _, failed in counts)
    assert stats.delivered == len(arrived)


@pytest.mark.parametrize("at", [0, 57, 199])
@pytest.mark.parametrize("step", range(5))
def test_failure_names_step_input_and_record_wherever_it_is_in_a_long_loop(step: int, at: int) -> None:
    words = ["map", "filter", "tap", "map", "filter"]
    records = [n for n in range(300) if all((n + k) % 3 for k in (1, 4))]  # the others do not come through
    plain = Plain(words, {(step, records[at])})
    got: list[Any] = []
    steps = [type(each)(**{**_fields(each), "on_error": None}) for each in plain.steps()]
    with pytest.raises(StepFailed) as caught:
        (piped(from_iterable([(n, 0) for n in range(300)]), steps) | sink(got.append)).run()
    assert got == plain.expected(records[at])[0]
    assert (caught.value.step, caught.value.offset) == (f"s{step}", records[at])
    assert caught.value.input == (records[at], sum(word == "map" for word in words[:step]))
    assert isinstance(caught.value.__cause__, Fault)


def _fields(operator: Any) -> dict[str, Any]:
    return {"function": operator.function, "name": operator.name}


@pytest.mark.parametrize("step", range(5))
def test_interrupt_by_a_function_keeps_what_came_to_its_end_and_nothing_else(step: int) -> None:
    broker = LocalBroker()
    broker.write("t", [str(n) for n in range(40)])
    words = ["map", "filter", "tap", "map", "filter"]
    plain = Plain(words, {(step, 15)}, KeyboardInterrupt)
    got: list[Any] = []
    flow = broker.source("t", group_id="g", decode=lambda data: (int(data), 0))
    with pytest.raises(KeyboardInterrupt):
        (piped(flow, plain.steps()) | sink(got.append)).run(until="end")
    assert got == plain.expected(15)[0]
    assert broker.committed("g") == {Partition(Topic("t"), 0): 15}


def test_result_that_is_neither_true_nor_false_is_taken_by_its_truth() -> None:
    got: list[Any] = []
    (from_iterable(["", "a", None, 0, 2, [], [0]]) | filter_(lambda value: value) | sink(got.append)).run()
    assert got == ["a", 2, [0]]


def test_truth_that_raises_fails_the_record() -> None:
    class Neither:
        def __bool__(self) -> bool:
            raise Fault

    got: list[Any] = []
    flow = (
        from_iterable(range(5)) | filter_(lambda n: Neither() if n == 3 else True, on_error="skip") | sink(got.append)
    )
    assert flow.run().failed == 1
    assert got == [0, 1, 2, 4]


def test_awaitable_in_the_middle_of_a_chunk_reaches_no_later_function() -> None:
    async def late() -> None: ...

    seen: list[Any] = []
    flow = (
        from_iterable(range(100))
        | map_(lambda n: late() if n == 77 else n, on_error="skip")
        | tap(seen.append)
        | filter_(lambda n: late() if n == 88 else True, on_error="skip")
        | tap(lambda n: late() if n == 99 else None, on_error="skip")
        | sink(seen.append)
    )
    assert flow.run().failed == 3
    assert sorted(seen) == sorted([n for n in range(100) if n != 77] + [n for n in range(100) if n not in {77, 88, 99}])


def test_many_types_of_results_are_taken_and_an_awaitable_among_them_is_not() -> None:
    class Awaitable:
        def __await__(self) -> Any: ...

    kinds = [type(f"Kind{n}", (), {}) for n in range(MOST_TYPES + 10)]
    values = [kind() for kind in kinds]
    got: list[Any] = []
    flow = (
        from_iterable([*values, Awaitable(), *values]) | map_(lambda value: value, on_error="skip") | sink(got.append)
    )
    assert flow.run().failed == 1
    assert got == [*values, *values]


def test_null_values_go_to_dead_letters_and_are_given_to_no_function() -> None:
    broker = LocalBroker()
    broker.write("t", ["1", None, "3"])
    got: list[Any] = []
    flow = broker.source("t", group_id="g", decode=int) | sink(got.append)
    flow.run(until="end", on_error=dead_letter(broker.sink("dead")))
    assert got == [1, 3]
    assert [letter.offset for letter in broker.read("dead")] == [0]
    assert broker.committed("g") == {Partition(Topic("t"), 0): 3}


def ignored(values: list[str]) -> None:
    """A sink that keeps nothing."""


def unreachable_after(records: int) -> int:
    """How many objects of a run over so many records are left to the garbage collector."""
    even = from_iterable(range(records)) | map_(int) | filter_(lambda value: value % 2 == 0)
    flow = even | map_(str) | batch(100) | sink(ignored)
    flow.run()
    gc.collect()
    gc.disable()
    try:
        flow.run()
        return gc.collect()
    finally:
        gc.enable()


def test_nothing_of_a_chunk_waits_for_the_garbage_collector() -> None:
    few, many = unreachable_after(5_000), unreachable_after(100_000)
    assert many < few + 40, "what each of the 50 slices more leaves behind in a cycle adds up"
