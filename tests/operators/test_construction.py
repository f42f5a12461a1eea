"""What operators refuse when they are written, naming argument and value."""

import io
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any

import pytest
from attrs import frozen

from flowdsl import (
    JSON,
    LocalBroker,
    batch,
    broadcast,
    decode,
    distinct_until_changed,
    encode,
    every,
    filter_,
    flat_map,
    fold,
    from_iterable,
    last,
    map_,
    merge,
    route,
    scan,
    sink,
    take,
    tap,
    through,
)
from flowdsl.operators.batch import Batch


async def later(value: object) -> object:
    return value


async def stream(value: object) -> AsyncIterator[object]:
    yield value


def generate(value: object) -> Iterator[object]:
    yield value


def add(state: int, value: int) -> int:
    return state + value


class Later:
    async def __call__(self, value: object) -> object:
        return value


class LateWriter:
    async def write(self, values: object) -> None: ...


class LateFlush:
    def write(self, values: object) -> None: ...
    async def flush(self) -> None: ...


class Choice(Enum):
    ONE = 1


@frozen
class Frozen:
    n: int


class Db:
    def write(self, values: object) -> None: ...


class Factory:
    def create_with_partitions(self, commit: object, partitions: object, downstream: object) -> Any: ...


class OneArgument:
    def create_with_partitions(self, commit: object) -> Any: ...


class Tally:
    """Mutable, though it hashes: by its identity."""

    def __init__(self) -> None:
        self.seen = 0


class Slotted:
    __slots__ = ("seen",)

    def __init__(self, seen: int) -> None:
        self.seen = seen


class WriteOfTwo:
    def write(self, topic: str, values: object) -> None: ...


BROKER = LocalBroker()
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  # what is refused

WRONG_TYPES: list[tuple[str, Callable[..., Any], Any]] = [
    ("f", map_, 3),
    ("f", map_, None),
    ("p", filter_, "paid"),
    ("f", tap, 3),
    ("f", flat_map, [1]),
    ("target", sink, 3),
    ("target", sink, None),
    ("n", take, True),
    ("n", take, 2.0),
    ("n", last, "3"),
    ("size", batch, True),
    ("size", batch, 1.5),
    ("size", batch, "3"),
    ("within", lambda given: batch(3, within=given), "1"),
    ("within", lambda given: batch(3, within=given), True),
    ("name", lambda given: map_(str, name=given), 3),
    ("key", distinct_until_changed, 3),
    ("key", lambda given: route(given, {1: map_(str)}), 3),
    ("branches", lambda given: route(str, given), [map_(str)]),
    ("branch 1", broadcast, 3),
    ("branch 'a'", lambda given: route(str, {"a": given}), 3),
    ("branch default", lambda given: route(str, {"a": map_(str)}, default=given), 3),
    ("factory", through, 3),
    ("factory", through, Factory),
    ("codec", decode, 3),
    ("codec", encode, 3),
    ("codec", encode, "utf-8"),
    ("codec", decode, b"utf-8"),
    ("values", from_iterable, 3),
    ("flows", merge, 3),
    ("flows", merge, [from_iterable([1])]),
    ("branch 1", broadcast, [map_(str)]),
    ("initial", lambda given: scan(add, given), []),
    ("initial", lambda given: scan(add, given), {}),
    ("initial", lambda given: fold(add, given, size=3), set()),
    ("initial", lambda given: fold(add, given, size=3), (1, [])),
    ("initial", lambda given: scan(add, given), Tally()),
    ("initial", lambda given: scan(add, given), Slotted(1)),
    ("initial", lambda given: fold(add, given, size=3), bytearray()),
    ("initial", lambda given: fold(add, given, size=3), iter([1])),
    ("messages", lambda given: every(messages=given), True),
    ("topic", BROKER.sink, 3),
    ("key", lambda given: BROKER.sink("t", key=given), 3),
    ("headers", lambda given: BROKER.sink("t", headers=given), [("a", 3)]),
    ("headers", lambda given: BROKER.sink("t", headers=given), 3),
    ("timestamp", lambda given: BROKER.sink("t", timestamp=given), 3),
    ("partition", lambda given: BROKER.sink("t", partition=given), "0"),
    ("partition", lambda given: BROKER.sink("t", partition=given), True),
    ("encode", lambda given: BROKER.sink("t", encode=given), 3),
    ("encode", lambda given: BROKER.sink("t", encode=given), "utf-8"),
    ("decode", lambda given: BROKER.source("t", decode=given), b"utf-8"),
    ("encode", lambda given: BROKER.write("t", [], encode=given), "utf-8"),
    ("decode", lambda given: BROKER.read("t", decode=given), b"utf-8"),
]


@pytest.mark.parametrize(("name", "build", "given"), WRONG_TYPES)
def test_a_wrong_type_is_refused_by_argument_and_value(name: str, build: Callable[..., Any], given: Any) -> None:
    with pytest.raises(TypeError, match=rf"{re.escape(name)} ") as refused:
        build(given)
    assert (getattr(given, "__name__", None) or repr(given)) in str(refused.value)


WRONG_VALUES: list[tuple[str, Callable[..., Any], Any]] = [
    ("n", take, 0),
    ("n", take, -1),
    ("n", last, 0),
    ("size", batch, 0),
    ("size", lambda given: fold(add, 0, size=given), -3),
    ("within", lambda given: batch(3, within=given), -1),
    ("within", lambda given: fold(add, 0, size=3, within=given), timedelta(seconds=-1)),
    ("within", lambda given: batch(3, within=given), float("nan")),
    ("name", lambda given: map_(str, name=given), ""),
    ("per", lambda given: scan(add, 0, per=given), "key"),
    ("per", lambda given: distinct_until_changed(per=given), "topic"),
    ("branches", lambda given: route(str, given), {}),
    ("seconds", lambda given: every(seconds=given), -1),
    ("messages", lambda given: every(messages=given), 0),
    ("topic", BROKER.sink, ""),
    ("timestamp", lambda given: BROKER.sink("t", timestamp=given), NAIVE),
    ("partition", lambda given: BROKER.sink("t", partition=given), -1),
    ("start", lambda given: BROKER.source("t", start=given), NAIVE),
    ("start", lambda given: BROKER.source("t", start=given), "yesterday"),
    ("tombstones", lambda given: BROKER.source("t", tombstones=given), "drop"),
    ("on_gap", lambda given: BROKER.source("t", on_gap=given), "skip"),
]


@pytest.mark.parametrize(("name", "build", "given"), WRONG_VALUES)
def test_a_wrong_value_is_refused_by_argument_and_value(name: str, build: Callable[..., Any], given: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} ") as refused:
        build(given)
    assert repr(given) in str(refused.value)


@pytest.mark.parametrize("build", [broadcast, merge])
def test_nothing_at_all_is_refused(build: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        build()


def test_a_commit_policy_without_condition_points_to_never() -> None:
    with pytest.raises(ValueError, match="never"):
        every()


WITH_FUNCTION: list[Callable[[Any], Any]] = [
    map_,
    flat_map,
    filter_,
    tap,
    sink,
    distinct_until_changed,
    decode,
    encode,
    lambda f: scan(f, 0),
    lambda f: scan(add, f),
    lambda f: fold(f, 0, size=3),
    lambda f: route(f, {1: map_(str)}),
    lambda f: BROKER.sink("t", key=f),
    BROKER.sink,
    lambda f: BROKER.sink("t", encode=f),
]


@pytest.mark.parametrize("build", [map_, filter_, flat_map, tap, sink])
@pytest.mark.parametrize("function", [later, partial(later), Later(), Later().__call__])
def test_coroutines_are_taken_where_work_may_be_slow(build: Callable[[Any], Any], function: Any) -> None:
    assert build(function) == build(function)


@pytest.mark.parametrize("build", WITH_FUNCTION)
def test_an_async_generator_is_refused_everywhere(build: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"async generator"):
        build(stream)


@pytest.mark.parametrize("build", [each for each in WITH_FUNCTION if each not in {map_, filter_, flat_map, tap, sink}])
@pytest.mark.parametrize("function", [later, partial(later), Later(), Later().__call__])
def test_coroutines_are_refused_where_none_is_taken(build: Callable[[Any], Any], function: Any) -> None:
    with pytest.raises(TypeError, match=r"async def, which"):
        build(function)


@pytest.mark.parametrize("target", [LateWriter(), LateFlush()])
def test_a_sink_object_with_coroutines_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match=r"target\.(write|flush) .*async def"):
        sink(target)


@pytest.mark.parametrize("build", [map_, filter_, tap, sink, lambda f: sink(partial(f))])
def test_a_generator_is_refused_where_its_values_would_be_lost(build: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="use flat_map"):
        build(generate)


def test_a_generator_is_welcome_in_flat_map() -> None:
    flat_map(generate)


@pytest.mark.parametrize("target", [WriteOfTwo(), BROKER])
def test_a_write_that_takes_more_than_the_values_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match=r"target\.write must be callable as target\.write\(values\)"):
        sink(target)


@pytest.mark.parametrize("method", ["open", "flush", "close"])
def test_a_method_of_a_sink_that_cannot_be_called_is_refused(method: str) -> None:
    target: Any = type("Target", (), {"write": print, method: True})()
    with pytest.raises(TypeError, match=rf"target\.{method} must be a function, not True"):
        sink(target)


@pytest.mark.parametrize("kind", [Tally, complex])
def test_a_type_that_is_not_made_of_json_is_refused(kind: type) -> None:
    with pytest.raises(TypeError, match=kind.__name__):
        JSON(kind)


def test_a_duration_too_long_for_a_float_is_refused() -> None:
    with pytest.raises(ValueError, match=r"within .* 401 digits"):
        batch(3, within=10**400)


def test_a_class_is_refused_as_a_sink() -> None:
    wrong: Any = Db
    with pytest.raises(TypeError, match=r"Db\(\.\.\.\)"):
        sink(wrong)


@pytest.mark.parametrize("file", [io.StringIO(), io.BytesIO(), sys.__stdout__])
def test_a_file_is_refused_as_a_sink(file: Any) -> None:
    with pytest.raises(TypeError, match=r"file\.write"):
        sink(file)


def test_a_strategy_factory_must_take_two_or_three_arguments() -> None:
    wrong: Any = OneArgument()
    with pytest.raises(TypeError, match="commit, partitions, downstream"):
        through(wrong)


def test_an_initial_function_takes_no_arguments() -> None:
    wrong: Any = lambda n: n  # noqa: E731  # a made-up function
    with pytest.raises(TypeError, match="initial must be a function without arguments"):
        scan(add, wrong)


def test_a_mutable_initial_says_to_give_a_function() -> None:
    wrong: Any = {}
    with pytest.raises(TypeError, match="give a function, dict"):
        scan(add, wrong)


def test_immutable_initials_and_functions_are_taken() -> None:
    for initial in (
        0,
        None,
        (),
        "",
        frozenset[int](),
        dict,
        list[int],
        object(),
        ...,
        NAIVE,
        range(3),
        Choice.ONE,
        Frozen(1),
    ):
        scan(lambda state, _: state, initial)


def test_durations_are_seconds_or_timedeltas() -> None:
    assert batch(3, within=2) == batch(3, within=timedelta(seconds=2))
    assert isinstance(batch(3), Batch)


def test_aware_timestamps_are_taken() -> None:
    BROKER.sink("t", timestamp=datetime(2026, 1, 1, tzinfo=UTC), encode=JSON)
