"""An awaitable out of a function that is not ``async def`` is a failing record, wherever the function was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from flowdsl import (
    LocalBroker,
    StepFailed,
    decode,
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
)
from flowdsl.errors import DeliveryFailed
from flowdsl.operators.codecs import JSON


async def _later() -> bytes:
    return b""


def later(*_: object) -> Any:
    """What somebody writes who forgot that the function behind it is ``async def``."""
    return _later()


class Late:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Any:
        yield


class Writes:
    def write(self, values: Sequence[object]) -> object:
        return later(values)


class Flushes:
    def write(self, values: Sequence[object]) -> None: ...

    def flush(self) -> object:
        return later()


class Opens:
    def open(self) -> object:
        return later()

    def write(self, values: Sequence[object]) -> None: ...


class Closes:
    def write(self, values: Sequence[object]) -> None: ...

    def close(self) -> object:
        return later()


STEPS: dict[str, Any] = {
    "map_": map_(later),
    "an awaitable that is no coroutine": map_(lambda _: Late()),
    "flat_map": flat_map(later),
    "filter_": filter_(later),
    "tap": tap(later),
    "scan": scan(later, 0),
    "fold": fold(later, 0, size=1),
    "distinct_until_changed": distinct_until_changed(later),
    "route": route(later, {1: map_(str)}),
    "route with a default": route(later, {1: map_(str)}, default=map_(str)),
    "encode": encode(later),
    "decode": decode(later),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_awaitable_fails_the_record_and_says_what_to_do(step: Any) -> None:
    got: list[object] = []
    with pytest.raises(StepFailed, match="define it with async def") as failed:
        (from_iterable([b"1", b"2"]) | step | sink(got.append)).run()
    assert isinstance(failed.value.__cause__, TypeError)
    assert (failed.value.offset, got) == (0, [])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("part", ["key", "headers", "timestamp", "partition", "encode"])
def test_awaitable_for_a_part_of_a_record_fails_it(part: str) -> None:
    broker: Any = LocalBroker()
    with pytest.raises(StepFailed, match=f"the function for {part} returned an awaitable"):
        (from_iterable([b"1"]) | broker.sink("t", **{part: later})).run()
    with pytest.raises(TypeError, match=f"the function for {part} returned an awaitable"):
        broker.write("t", [b"1"], **{part: later})
    assert broker.topics() == {}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("target", [later, Writes(), Flushes()])
def test_awaitable_of_a_sink_fails_the_record(target: Any) -> None:
    with pytest.raises(StepFailed, match="define it with async def"):
        (from_iterable([b"1"]) | sink(target)).run()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("target", [Opens(), Closes()])
def test_awaitable_of_a_sink_that_opens_or_closes_ends_the_run(target: Any) -> None:
    with pytest.raises(StepFailed, match=r"(open|close) returned an awaitable .* async def") as failed:
        (from_iterable([b"1"]) | sink(target)).run()
    assert isinstance(failed.value.__cause__, TypeError)


@pytest.mark.filterwarnings("error")
def test_awaitable_instead_of_values_is_named() -> None:
    with pytest.raises(TypeError, match="later of from_iterable returned an awaitable"):
        (from_iterable(later) | sink(print)).run()


def test_a_partition_that_does_not_exist_is_no_awaitable() -> None:
    with pytest.raises(StepFailed) as failed:
        (from_iterable([{"a": 1}]) | LocalBroker().sink("t", partition=lambda _: 9, encode=JSON)).run()
    assert isinstance(failed.value.__cause__, DeliveryFailed)
