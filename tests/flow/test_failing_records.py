"""Whatever a user's function raises, in whichever operator, at whichever record of a chunk: nothing is lost or silent."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowdsl import (
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    batch,
    broadcast,
    dead_letter,
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
    to_list,
    unbatch,
)
from flowdsl.stages.failures import DeadLetter
from flowdsl.testing import Driver

PLACE = Partition(Topic("t"), 0)
COUNT = 8
POSITIONS = (0, 3, COUNT - 1)


class Untold(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Trap:
    """Raises at one value, as long as it is armed; notes each value that it was called with."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self.at, self.error = str(at).encode(), error
        self.armed = True

    def spring(self, value: bytes) -> None:
        if self.armed and value == self.at:
            raise self.error

    def same(self, value: bytes) -> bytes:
        self.spring(value)
        return value

    def true(self, value: bytes) -> bool:
        self.spring(value)
        return True

    def listed(self, value: bytes) -> list[bytes]:
        self.spring(value)
        return [value]

    def generated(self, value: bytes) -> Iterator[bytes]:
        yield value
        if self.armed and value == self.at:
            raise self.error

    def generator(self, value: bytes) -> Iterator[bytes]:
        return self.generated(value)

    def last(self, _: bytes, value: bytes) -> bytes:
        self.spring(value)
        return value

    def joined(self, state: tuple[bytes, ...], value: bytes) -> tuple[bytes, ...]:
        self.spring(value)
        return (*state, value)

    def whole(self, values: list[bytes]) -> list[bytes]:
        for value in values:
            self.spring(value)
        return values

    def named(self, value: bytes) -> list[tuple[str, bytes]]:
        self.spring(value)
        return [("h", value)]

    def number(self, value: bytes) -> int:
        self.spring(value)
        return 0

    def key(self, value: bytes) -> str:
        self.spring(value)
        return "a"


Middle = Callable[[Trap], Any]

OPERATORS: dict[str, Middle] = {
    "map_": lambda trap: map_(trap.same),
    "filter_": lambda trap: filter_(trap.true),
    "tap": lambda trap: tap(trap.same),
    "flat_map": lambda trap: flat_map(trap.listed),
    "scan": lambda trap: scan(trap.last, b""),
    "distinct_until_changed": lambda trap: distinct_until_changed(trap.same),
    "decode": lambda trap: decode(trap.same),
    "encode": lambda trap: encode(trap.same),
    "fold": lambda trap: fold(trap.last, b"", size=1),
    "behind batch": lambda trap: batch(1) | map_(trap.whole) | unbatch(),
    "unbatch": lambda trap: map_(lambda value: Lazy(trap, value)) | unbatch(),
    "route": lambda trap: route(trap.key, {"a": map_(bytes)}),
    "filter_ by truth": lambda trap: filter_(lambda value: Truth(trap, value)),
    "scan of the flow": lambda trap: scan(trap.last, b"", per="flow"),
    "distinct_until_changed of the flow": lambda trap: distinct_until_changed(trap.same, per="flow"),
    "fold in groups": lambda trap: fold(trap.joined, (), size=1) | unbatch(),
    "in a branch": lambda trap: route(lambda _: "a", {"a": map_(trap.same)}),
    "in a broadcast": lambda trap: broadcast(map_(trap.same)),
}


GENERATORS: dict[str, Middle] = {
    "flat_map": lambda trap: flat_map(trap.generated),
    "unbatch": lambda trap: map_(trap.generator) | unbatch(),
}


class Lazy:
    """An iterable that fails while it is read, after its first value."""

    def __init__(self, trap: Trap, value: bytes) -> None:
        self._trap, self._value = trap, value

    def __iter__(self) -> Iterator[bytes]:
        self._trap.spring(self._value)
        return iter([self._value])


class Truth:
    """A result whose truth cannot be told."""

    def __init__(self, trap: Trap, value: bytes) -> None:
        self._trap, self._value = trap, value

    def __bool__(self) -> bool:
        self._trap.spring(self._value)
        return True


def nothing(_: object) -> None:
    pass


def driver_of(middle: Any, **given: Any) -> Driver:
    flow: Any = LocalBroker().source("t", group_id="g")
    driver = Driver(flow.pipe(map_(bytes), middle, map_(bytes), sink(nothing)), **given)
    for number in range(COUNT):
        driver.send(str(number).encode())
    return driver


def values(start: int, stop: int) -> list[bytes]:
    return [str(number).encode() for number in range(start, stop)]


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, Untold, TimeoutError, StopAsyncIteration])
@pytest.mark.parametrize("operator", OPERATORS)
def test_exception_stops_the_flow_with_all_before_it_done_and_itself_not(
    operator: str, error: type[Exception], at: int
) -> None:
    trap = Trap(at, error)
    driver = driver_of(OPERATORS[operator](trap))
    with pytest.raises(StepFailed) as failed:
        driver.run_until_idle()
    assert isinstance(failed.value.__cause__, error)
    assert (failed.value.offset, failed.value.value) == (at, str(at).encode())
    assert error.__name__ in str(failed.value)
    assert driver.outputs == values(0, at)
    assert driver.committed == ({PLACE: at} if at else {})
    trap.armed = False
    driver.restart()
    driver.close()
    assert driver.outputs == values(0, COUNT)
    assert driver.committed == {PLACE: COUNT}


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("operator", OPERATORS)
def test_interrupt_ends_the_flow_as_a_stop_would_and_is_raised_as_it_is(
    operator: str, error: type[BaseException], at: int
) -> None:
    trap = Trap(at, error)
    driver = driver_of(OPERATORS[operator](trap))
    with pytest.raises(error):
        driver.run_until_idle()
    assert driver.outputs == values(0, at)
    assert driver.committed == ({PLACE: at} if at else {})
    trap.armed = False
    driver.restart()
    driver.close()
    assert driver.outputs == values(0, COUNT)
    assert driver.committed == {PLACE: COUNT}


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, Untold])
@pytest.mark.parametrize("operator", OPERATORS)
def test_skipped_record_is_the_only_one_that_is_missing(operator: str, error: type[Exception], at: int) -> None:
    driver = driver_of(OPERATORS[operator](Trap(at, error)), on_error="skip")
    driver.close()
    assert driver.outputs == values(0, at) + values(at + 1, COUNT)
    assert driver.committed == {PLACE: COUNT}


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_dead_letter_holds_the_only_record_that_is_missing(operator: str, at: int) -> None:
    letters: list[bytes] = []
    policy = dead_letter(sink(letters.append, name="letters"))
    driver = driver_of(OPERATORS[operator](Trap(at, StopIteration)), on_error=policy)
    driver.close()
    assert driver.outputs == values(0, at) + values(at + 1, COUNT)
    assert letters == values(at, at + 1)
    assert [letter.offset for letter in driver.dead_letters] == [at]
    assert driver.committed == {PLACE: COUNT}


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, Untold, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("operator", GENERATORS)
def test_generator_that_raises_midway_delivers_nothing_of_its_record(
    operator: str, error: type[BaseException], at: int
) -> None:
    trap = Trap(at, error)
    driver = driver_of(GENERATORS[operator](trap))
    with pytest.raises(error if not issubclass(error, Exception) else StepFailed):
        driver.run_until_idle()
    assert driver.outputs == values(0, at)
    assert driver.committed == ({PLACE: at} if at else {})


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, Untold, KeyboardInterrupt, SystemExit])
def test_sink_function_that_raises_did_not_get_the_record(error: type[BaseException], at: int) -> None:
    trap = Trap(at, error)
    flow: Any = LocalBroker().source("t", group_id="g") | sink(trap.same)
    driver = Driver(flow)
    for number in range(COUNT):
        driver.send(str(number).encode())
    with pytest.raises(error if not issubclass(error, Exception) else StepFailed):
        driver.run_until_idle()
    assert driver.outputs == values(0, at)
    assert driver.committed == ({PLACE: at} if at else {})
    trap.armed = False
    driver.restart()
    driver.close()
    assert driver.outputs == values(0, COUNT)


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, Untold, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("operator", OPERATORS)
def test_values_in_memory_fail_as_loudly(operator: str, error: type[BaseException], at: int) -> None:
    trap, seen = Trap(at, error), list[bytes]()
    flow: Any = from_iterable(values(0, COUNT)).pipe(OPERATORS[operator](trap), tap(seen.append), to_list())
    with pytest.raises(error if not issubclass(error, Exception) else StepFailed):
        flow.run()
    assert seen == values(0, at)
    trap.armed = False
    assert flow.run() == values(0, COUNT)


def test_what_is_no_iterable_is_told_as_that() -> None:
    steps: list[Any] = [flat_map(lambda _: None), unbatch()]  # pyright: ignore[reportArgumentType]  # wrong on purpose
    for step in steps:
        with pytest.raises(StepFailed, match="an iterable is needed, whose values go on, but it is None"):
            (from_iterable([None]) | step | to_list()).run()


def test_type_error_of_a_lazy_result_is_told_as_it_is() -> None:
    def lazily(value: Any) -> Iterator[Any]:
        yield value + "a"

    with pytest.raises(StepFailed, match="unsupported operand"):
        (from_iterable([1]) | flat_map(lazily) | to_list()).run()


def test_failure_in_an_open_group_drops_the_group_and_commits_nothing_of_it() -> None:
    driver = driver_of(fold(Trap(5, ValueError).last, b"", size=4))
    with pytest.raises(StepFailed) as failed:
        driver.run_until_idle()
    assert (failed.value.offset, driver.outputs, driver.committed) == (5, [b"3"], {PLACE: 4})


def test_interrupt_in_a_group_hands_on_the_group_as_a_stop_would() -> None:
    driver = driver_of(map_(Trap(5, KeyboardInterrupt).same) | batch(4) | map_(b"".join))
    with pytest.raises(KeyboardInterrupt):
        driver.run_until_idle()
    assert (driver.outputs, driver.committed) == ([b"0123", b"4"], {PLACE: 5})


def test_two_failures_in_one_chunk_are_both_dealt_with_in_order() -> None:
    def odd(value: bytes) -> bytes:
        if int(value) % 2:
            raise ValueError(value)
        return value

    driver = driver_of(map_(odd), on_error=dead_letter(sink(nothing, name="letters")))
    driver.close()
    assert driver.outputs == [b"0", b"2", b"4", b"6"]
    assert [letter.value for letter in driver.dead_letters] == [b"1", b"3", b"5", b"7"]
    assert driver.committed == {PLACE: COUNT}


def test_policy_of_a_step_goes_before_that_of_the_run() -> None:
    driver = driver_of(map_(Trap(2, ValueError).same, on_error="skip") | map_(Trap(4, ValueError).same))
    with pytest.raises(StepFailed) as failed:
        driver.run_until_idle()
    assert (failed.value.offset, driver.outputs, driver.committed) == (4, values(0, 2) + values(3, 4), {PLACE: 4})


def test_awaitable_out_of_a_plain_function_is_a_failing_record() -> None:
    async def later(value: bytes) -> bytes:
        return value

    driver = driver_of(map_(lambda value: later(value) if value == b"3" else value))
    with pytest.raises(StepFailed, match="async def") as failed:
        driver.run_until_idle()
    assert (failed.value.offset, driver.outputs, driver.committed) == (3, values(0, 3), {PLACE: 3})


def test_dead_letter_that_fails_stops_the_flow_and_holds_its_offset() -> None:
    def full(_: bytes) -> None:
        raise OSError("disk full")

    driver = driver_of(map_(Trap(2, ValueError).same), on_error=dead_letter(sink(full)))
    with pytest.raises(StepFailed, match="disk full") as failed:
        driver.run_until_idle()
    assert (failed.value.offset, failed.value.step) == (2, "full")
    assert driver.committed == {PLACE: 2}


def test_letter_that_waits_for_its_sink_holds_the_offset() -> None:
    driver = driver_of(
        map_(Trap(2, ValueError).same), on_error=dead_letter(batch(2, within=5.0) | sink(nothing, name="letters"))
    )
    driver.advance(2.0)
    assert (driver.outputs, driver.committed) == (values(0, 2) + values(3, COUNT), {PLACE: 2})
    driver.advance(4.0)
    assert driver.committed == {PLACE: COUNT}


def test_letter_is_offered_again_where_its_stage_rejects() -> None:
    driver = driver_of(map_(Trap(2, ValueError).same), on_error=dead_letter(sink(nothing, name="letters")))
    driver.reject_next("letters")
    driver.close()
    assert (driver.outputs, driver.committed) == (values(0, 2) + values(3, COUNT), {PLACE: COUNT})
    assert [letter.value for letter in driver.dead_letters] == [b"2"]


def test_message_of_a_letter_survives_an_exception_without_words() -> None:
    driver = driver_of(map_(Trap(2, Untold).same), on_error=dead_letter(sink(nothing, name="letters")))
    driver.close()
    headers = dict(driver.dead_letters[0].headers)
    assert headers["flowdsl-exception"] == f"{__name__}.Untold".encode()
    assert headers["flowdsl-message"] == b"<its __str__ raises RuntimeError>"


def test_dead_letters_are_forgotten_once_they_are_done() -> None:
    """A long run with many of them takes no more memory than a short one."""
    left: list[int] = []
    count = [0]

    def write(_: bytes) -> None:
        count[0] += 1
        if count[0] % 500 == 0:
            left.append(sum(isinstance(each, DeadLetter) for each in gc.get_objects()))

    def refuse(value: int) -> None:
        raise ValueError(value)

    (from_iterable(range(2000)) | map_(refuse, on_error=dead_letter(sink(write))) | sink(lambda _: None)).run()
    assert len(left) == 4
    assert max(left) < 100
