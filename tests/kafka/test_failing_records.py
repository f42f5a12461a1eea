"""On a real Kafka: a record that fails, whatever is raised, stops the flow with everything before it committed, and no more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowdsl import (
    ClosedFlow,
    Kafka,
    Partition,
    Stats,
    StepFailed,
    Topic,
    batch,
    dead_letter,
    decode,
    distinct_until_changed,
    filter_,
    flat_map,
    immediately,
    map_,
    scan,
    sink,
    tap,
    with_record,
)
from tests.kafka.helpers import fill, lines_until, program, wait_for

pytestmark = pytest.mark.slow
POISON = 137


class Poison(Exception):
    """Raised by the function that cannot stand number 137."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("an exception that cannot be shown")


def parse(value: bytes) -> int:
    number = int(value)
    if number == POISON:
        raise Poison("number 137")
    return number


def at(topic: str) -> Partition:
    return Partition(Topic(topic), 0)


def flow_of(kafka: Kafka, t: str, g: str, function: Any, written: list[list[int]]) -> ClosedFlow[Stats]:
    return kafka.source(t, group_id=g) | map_(function) | batch(100) | sink(written.append)


def test_poisoned_batch_is_not_written_and_a_mended_function_brings_the_rest(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 300)
    written: list[list[int]] = []
    with pytest.raises(StepFailed) as info:
        flow_of(kafka, t, g, parse, written).run(until="end", timeout=120.0)
    failed = info.value
    assert (failed.step, failed.topic, failed.partition, failed.offset, failed.value) == ("parse", t, 0, POISON, b"137")
    assert written == [list(range(100))]
    assert kafka.committed(g) == {at(t): 100}
    flow_of(kafka, t, g, int, written).run(until="end", timeout=120.0)
    assert written == [list(range(100)), list(range(100, 200)), list(range(200, 300))]
    assert kafka.committed(g) == {at(t): 300}


def test_poison_is_skipped(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 300)
    written: list[list[int]] = []
    flow_of(kafka, t, g, parse, written).run(until="end", timeout=120.0, on_error="skip")
    assert [number for group in written for number in group] == [n for n in range(300) if n != POISON]
    assert kafka.committed(g) == {at(t): 300}


def test_poison_becomes_a_dead_letter(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 300)
    kafka.create_topic(f"{t}-dead")
    written: list[list[int]] = []
    letters = dead_letter(kafka.sink(f"{t}-dead"))
    flow_of(kafka, t, g, parse, written).run(until="end", timeout=120.0, on_error=letters)
    assert [number for group in written for number in group] == [n for n in range(300) if n != POISON]
    (letter,) = kafka.read(f"{t}-dead")
    assert letter.value == b"137"
    assert dict(letter.headers)["flowdsl-offset"] == b"137"
    assert kafka.committed(g) == {at(t): 300}


HELD = """
import sys
from flowdsl import *

kafka = Kafka(sys.argv[1])
def wanted(value):
    print("seen", value.decode(), flush=True)
    return value == b"0"
settings = {"session.timeout.ms": 6000}
(kafka.source(sys.argv[2], group_id=sys.argv[3], settings=settings) | filter_(wanted) | batch(2) | sink(print)).run(commit=immediately)
"""


def test_record_that_is_held_when_the_process_is_killed_is_read_again(
    kafka: Kafka, kafka_address: str, t: str, g: str
) -> None:
    fill(kafka, t, 4)
    for _ in range(2):  # the second time proves that the first committed nothing
        with program(HELD, kafka_address, t, g) as process:
            seen = lines_until(process, "seen 3")
            assert seen == ["seen 0", "seen 1", "seen 2", "seen 3"]
            wait_for(lambda: at(t) in kafka.committed(g))
    assert kafka.committed(g) == {at(t): 0}


@pytest.mark.parametrize("where", [0, 250, 499])
@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt, SystemExit, Mute])
def test_whatever_a_function_raises_nothing_is_lost_and_nothing_is_silent(
    kafka: Kafka, t: str, g: str, error: type[BaseException], where: int
) -> None:
    fill(kafka, t, 500)
    delivered: list[int] = []

    def moody(value: bytes) -> int:
        if int(value) == where and where not in delivered and not told:
            raise error
        return int(value)

    told: list[BaseException] = []
    flow = kafka.source(t, group_id=g) | map_(moody) | sink(delivered.append)
    with pytest.raises((StepFailed, KeyboardInterrupt, SystemExit)) as info:
        flow.run(until="end", timeout=120.0, commit=immediately)
    told.append(info.value)
    if issubclass(error, Exception):
        assert isinstance(info.value, StepFailed)
        assert (info.value.offset, type(info.value.__cause__)) == (where, error)
    assert delivered == list(range(where))
    assert kafka.committed(g) == {at(t): where}
    flow.run(until="end", timeout=120.0)
    assert delivered == list(range(500))
    assert kafka.committed(g) == {at(t): 500}


def fails(number: int) -> int:
    if number == POISON:
        raise Poison("number 137")
    return number


def as_text(number: int) -> bytes:
    return str(number).encode()


def halves(number: int) -> Iterator[int]:
    """A generator that gives a value of the record, and fails before the other."""
    yield number
    yield fails(number)


async def slowly(number: int) -> int:
    return fails(number)


STEPS: dict[str, Callable[[], Any]] = {
    "map_": lambda: map_(fails),
    "filter_": lambda: filter_(lambda number: fails(number) >= 0),
    "tap": lambda: tap(fails),
    "flat_map": lambda: flat_map(halves) | distinct_until_changed(),
    "scan": lambda: scan(lambda _, number: fails(number), initial=0),
    "distinct_until_changed": lambda: distinct_until_changed(fails),
    "with_record": lambda: with_record() | map_(lambda pair: fails(pair[0])),
    "decode": lambda: map_(as_text) | decode(lambda text: fails(int(text))),
    "map_ in threads": lambda: map_(fails, concurrency=4),
    "map_ of coroutines": lambda: map_(slowly, concurrency=4),
}


@pytest.mark.parametrize("step", STEPS)
def test_record_that_fails_in_any_operator_stops_the_flow_behind_what_was_before_it(
    kafka: Kafka, t: str, g: str, step: str
) -> None:
    fill(kafka, t, 300)
    delivered: list[int] = []
    flow = kafka.source(t, group_id=g, decode=int) | STEPS[step]() | sink(delivered.append)
    with pytest.raises(StepFailed) as info:
        flow.run(until="end", timeout=120.0, commit=immediately)
    assert (info.value.topic, info.value.partition, info.value.offset) == (t, 0, POISON)
    assert isinstance(info.value.__cause__, Poison)
    assert [number for number in delivered if number != POISON] == list(range(POISON))
    assert kafka.committed(g) == {at(t): POISON}


def test_pasted_auto_commit_is_refused_with_the_reason(kafka: Kafka, kafka_address: str) -> None:
    for make in (
        lambda: Kafka(kafka_address, {"enable.auto.commit": True}),
        lambda: kafka.source("t", group_id="g", settings={"enable.auto.commit": "true"}),
        lambda: kafka.consumer(group_id="g", settings={"enable.auto.commit": True}),
    ):
        with pytest.raises(ValueError, match=re.compile("enable.auto.commit.*delivery", re.DOTALL)):
            make()
