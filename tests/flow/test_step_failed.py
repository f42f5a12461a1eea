"""``StepFailed``: which function, where it is defined, which record, what it received; in a notebook the cell."""

from __future__ import annotations

import functools
import inspect
import operator
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
import orjson
import pytest

from flowdsl import (
    JSON,
    Flow,
    LocalBroker,
    StepFailed,
    batch,
    distinct_until_changed,
    encode,
    filter_,
    flat_map,
    fold,
    from_iterable,
    map_,
    route,
    scan,
    sink,
    tap,
    through,
    unbatch,
)
from flowdsl.strategies import RunTask
from tests.kernels import execute, runs_kernels

HERE = __name__


def parse(value: Any) -> int:
    return int(value)


def parse_all(values: Sequence[Any]) -> list[int]:
    return [int(value) for value in values]


def wrapping(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(function)
    def wrapper(value: Any) -> Any:
        return function(value)

    return wrapper


class Order:
    """Can be made of numbers alone."""

    def __init__(self, value: Any) -> None:
        self.number = int(value)

    @classmethod
    def made(cls, value: Any) -> Order:
        return cls(value)

    @staticmethod
    def read(value: Any) -> int:
        return int(value)

    def method(self, value: Any) -> int:
        return int(value)


class Callback:
    def __call__(self, value: Any) -> int:
        return int(value)


class Store:
    """A sink object that cannot stand what is no number, and cannot flush what is above 5."""

    def __init__(self) -> None:
        self.largest = 0

    def write(self, values: Sequence[Any]) -> None:
        self.largest = max(self.largest, *(int(value) for value in values))

    def flush(self) -> None:
        if self.largest > 5:
            raise OSError("the disk is full")


def line_of(function: Any) -> int:
    return int(function.__code__.co_firstlineno)


def line() -> int:
    """The line that calls this."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def failure_of(step: Any, values: Sequence[str] = ("1", "x", "3"), **given: Any) -> StepFailed:
    with LocalBroker() as broker:
        broker.write("orders", values)
        flow = broker.source("orders", group_id="g", decode=bytes.decode) | step
        closed: Any = flow | sink(lambda _: None) if isinstance(flow, Flow) else flow
        with pytest.raises(StepFailed) as raised:
            closed.run(until="end", **given)
        return raised.value


# -- the function, and where it is ------------------------------------------------------------------------------------------


DEFINED: list[tuple[Callable[[Any], Any], str, str, int]] = [
    (parse, "parse", "parse", line_of(parse)),
    (functools.partial(parse), "parse", "parse", line_of(parse)),
    (wrapping(parse), "parse", "parse", line_of(parse)),
    (Order, "Order", "Order", line_of(Order.__init__)),
    (Order.made, "made", "Order.made", line_of(Order.made)),
    (Order.read, "read", "Order.read", line_of(Order.read)),
    (Order(1).method, "method", "Order.method", line_of(Order.method)),
    (Callback(), "Callback", "Callback", line_of(Callback.__call__)),
]


@pytest.mark.parametrize(("function", "step", "name", "at"), DEFINED, ids=[row[2] for row in DEFINED])
def test_function_is_named_with_its_module_and_where_it_is_defined(
    function: Callable[[Any], Any], step: str, name: str, at: int
) -> None:
    failed = failure_of(map_(function))
    assert (failed.step, failed.function) == (step, f"{HERE}.{name}")
    assert (failed.file, failed.line) == (__file__, at)


def test_nested_function_tells_where_it_stands() -> None:
    def inner(value: str) -> int:
        return int(value)

    failed = failure_of(map_(inner))
    expected = f"{HERE}.test_nested_function_tells_where_it_stands.<locals>.inner"
    assert (failed.step, failed.function, failed.line) == ("inner", expected, line_of(inner))


@pytest.mark.parametrize(
    ("function", "step", "name"),
    [
        (int, "int", "int"),
        (orjson.loads, "loads", "orjson.loads"),
        (operator.itemgetter(5), "itemgetter", "operator.itemgetter"),
    ],
)
def test_function_without_source_is_where_the_step_was_written(
    function: Callable[[Any], Any], step: str, name: str
) -> None:
    failed, at = failure_of(map_(function)), line()
    assert (failed.step, failed.function, failed.file, failed.line) == (step, name, __file__, at)


def test_lambda_is_where_it_was_written() -> None:
    failed, at = failure_of(map_(lambda value: int(value))), line()  # noqa: PLW0108  # a lambda is what this is about
    assert (failed.step, failed.file, failed.line) == ("map_", __file__, at)
    assert failed.function == f"{HERE}.test_lambda_is_where_it_was_written.<locals>.<lambda>"


def test_name_of_the_step_is_the_users_where_there_is_one() -> None:
    failed = failure_of(map_(parse, name="numbers"))
    assert (failed.step, failed.function) == ("numbers", f"{HERE}.parse")


def test_second_step_of_one_function_is_told_apart() -> None:
    failed = failure_of(map_(str) | tap(parse, name="parse") | map_(lambda _: "y") | map_(parse), values=["1"])
    assert failed.step == "parse#2"


STEPS: list[tuple[Any, str]] = [
    (filter_(parse), "parse"),
    (tap(parse), "parse"),
    (flat_map(lambda value: [int(value)], name="parse"), ""),
    (scan(lambda _, value: int(value), 0, name="parse"), ""),
    (fold(lambda _, value: int(value), 0, size=3, name="parse"), ""),
    (distinct_until_changed(parse), "parse"),
    (route(parse, {1: map_(str), 3: map_(str)}), "parse"),
    (encode(lambda value: str(int(value)), name="parse"), ""),
    (sink(parse), "parse"),
    (map_(lambda value: [value]) | unbatch() | map_(parse), "parse"),
]


@pytest.mark.parametrize(("step", "function"), STEPS)
def test_every_operator_names_the_record_and_the_function(step: Any, function: str) -> None:
    failed = failure_of(step)
    assert (failed.step, failed.topic, failed.partition, failed.offset, failed.count) == ("parse", "orders", 0, 1, 1)
    assert (failed.value, failed.input) == (b"x", "x")
    assert isinstance(failed.__cause__, ValueError)
    if function:
        assert failed.function == f"{HERE}.{function}"


def test_sink_object_fails_in_its_write_and_in_its_flush() -> None:
    failed = failure_of(sink(Store()))
    assert (failed.step, failed.function, failed.line) == ("sink", f"{HERE}.Store.write", line_of(Store.write))
    failed = failure_of(sink(Store()), values=["1", "9"])
    assert (failed.step, failed.function, failed.line) == ("sink", f"{HERE}.Store.flush", line_of(Store.flush))
    assert isinstance(failed.__cause__, OSError)


def test_decoder_of_a_source_fails_as_the_source() -> None:
    with LocalBroker() as broker:
        broker.write("orders", ["1", "x"])
        for decode, name in ((JSON, "source"), (parse, f"{HERE}.parse")):
            with pytest.raises(StepFailed) as raised:
                (broker.source("orders", group_id="g", decode=decode) | sink(lambda _: None)).run(until="end")
            failed = raised.value
            assert (failed.step, failed.function, failed.offset) == ("source", name, 1)
            assert (failed.value, failed.input) == (b"x", b"x")


class Fragile:
    """A factory whose strategy raises."""

    def create_with_partitions(self, commit: Any, partitions: Any, downstream: Any) -> Any:
        return RunTask[Any, int](lambda message: int(message.payload), downstream)


def test_hand_written_strategy_is_named_by_its_factory() -> None:
    failed = failure_of(through(Fragile()))
    create = Fragile.create_with_partitions
    assert (failed.step, failed.function) == ("through", f"{HERE}.Fragile.create_with_partitions")
    assert (failed.file, failed.line, failed.offset) == (__file__, line_of(create), 1)


# -- the record, or the records ---------------------------------------------------------------------------------------------


def test_group_names_its_first_record_and_how_many_there_are() -> None:
    failed = failure_of(batch(3) | map_(parse_all), values=["0", "1", "2", "3", "x", "5"])
    assert (failed.offset, failed.count, failed.value, failed.input) == (3, 3, b"3", ["3", "x", "5"])
    assert "offset 3 and the 2 records grouped with it" in str(failed)


def test_values_in_memory_have_no_topic_and_their_index() -> None:
    with pytest.raises(StepFailed) as raised:
        (from_iterable(["1", "x"]) | map_(parse) | sink(lambda _: None)).run()
    failed = raised.value
    assert (failed.topic, failed.partition, failed.offset, failed.value) == ("", 0, 1, "x")
    assert "values in memory offset 1" in str(failed)


def test_what_the_function_raised_is_the_cause_with_its_traceback() -> None:
    failed = failure_of(map_(parse))
    assert isinstance(failed.__cause__, ValueError)
    traceback = failed.__cause__.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    assert traceback is not None
    assert traceback.tb_frame.f_code is parse.__code__


# -- what it says -----------------------------------------------------------------------------------------------------------


def test_message_is_for_people() -> None:
    *facts, advice = str(failure_of(map_(parse))).splitlines()
    assert facts == [
        "step 'parse' failed at orders[0] offset 1: ValueError: invalid literal for int() with base 10: 'x'",
        f"  in: {HERE}.parse ({__file__}:{line_of(parse)})",
        "  input: 'x'",
        "  value: b'x'",
    ]
    assert advice.startswith("  The record is not committed and will be read again. Mend the function, or choose")


def test_values_and_reasons_are_shortened() -> None:
    failed = failure_of(map_(lambda value: value * 100) | map_(parse), values=["y" * 1000])
    lines = str(failed).splitlines()
    assert [len(text.partition(": ")[2]) for text in lines[2:4]] == [200, 200]
    assert len(lines[0]) < 300
    assert (len(failed.value), len(failed.input)) == (1000, 100_000)  # the fields are whole


def test_values_whose_repr_raises_are_told_all_the_same() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    failed = failure_of(map_(lambda _: Rude()) | map_(parse))
    assert "<Rude whose repr raises RuntimeError>" in str(failed)


def test_it_pickles_with_all_its_fields() -> None:
    failed = failure_of(batch(3) | map_(parse_all))
    again = pickle.loads(pickle.dumps(failed))  # noqa: S301  # what was just pickled
    assert str(again) == str(failed)
    assert vars(again) == vars(failed)


def test_it_pickles_where_what_the_step_received_does_not() -> None:
    failed = failure_of(map_(lambda _: lambda: 0) | map_(parse))
    again = pickle.loads(pickle.dumps(failed))  # noqa: S301  # what was just pickled
    assert (again.step, again.offset, again.value) == ("parse", 0, b"1")
    assert "<function" in again.input


# -- in a notebook ----------------------------------------------------------------------------------------------------------


CELLS = [
    "from flowdsl import StepFailed, from_iterable, map_, sink",
    "def parse(value):\n    return int(value)",
    "# a comment\nflow = (\n    from_iterable(['1', 'x'])\n    | map_(int)\n    | sink(print)\n)",
    "try:\n    flow.run()\nexcept StepFailed as failed:\n    print(failed.function, failed.file, failed.line)",
    "try:\n    (from_iterable(['x']) | map_(parse) | sink(print)).run()\nexcept StepFailed as failed:\n    print(failed.function, failed.file, failed.line)",
    "import asyncio\nhandle = flow.start(on_error='skip')\nstats = await handle\nprint(stats.delivered, asyncio.get_running_loop().is_running())",
    "print((from_iterable(['1', 'x']) | map_(int) | sink(print)).run(on_error='skip').failed)",
]


@pytest.mark.slow
@runs_kernels
def test_in_a_notebook_the_place_is_the_cell_and_runs_work_in_its_event_loop(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    execute(notebook, tmp_path)
    shown = [
        "".join(out.get("text", "") for out in cell.outputs if out.get("name") == "stdout") for cell in notebook.cells
    ]
    assert re.search(r"^int Cell In\[3\] 4$", shown[3], re.MULTILINE), shown[3]
    assert shown[4] == "__main__.parse Cell In[2] 1\n"
    assert shown[5] == "1\n1 True\n"
    assert shown[6] == "1\n1\n"
