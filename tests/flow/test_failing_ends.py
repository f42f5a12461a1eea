"""Whatever is raised at the ends of a flow, in a source's decoder or a sink's functions: nothing is lost or silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from flowdsl import (
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    broadcast,
    fold,
    from_iterable,
    immediately,
    scan,
    sink,
    to_list,
)

COUNT = 8
POSITIONS = (0, 3, COUNT - 1)
PLACE = Partition(Topic("t"), 0)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


class Untold(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Trap:
    """A function that raises at one value, as long as it is armed, and returns the same for all others."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self.at, self.error = str(at).encode(), error
        self.armed = True

    def giving(self, result: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def function(value: bytes) -> Any:
            if self.armed and value == self.at:
                raise self.error
            return result(value)

        return function


def broker_with(topic: str) -> LocalBroker:
    broker = LocalBroker()
    broker.write(topic, [str(number) for number in range(COUNT)])
    return broker


def values(start: int, stop: int) -> list[bytes]:
    return [str(number).encode() for number in range(start, stop)]


End = Callable[[LocalBroker, Trap], Any]

ENDS: dict[str, End] = {
    "topic": lambda broker, trap: broker.sink(trap.giving(lambda _: "out")),
    "key": lambda broker, trap: broker.sink("out", key=trap.giving(bytes)),
    "headers": lambda broker, trap: broker.sink("out", headers=trap.giving(lambda _: None)),
    "timestamp": lambda broker, trap: broker.sink("out", timestamp=trap.giving(lambda _: NOON)),
    "partition": lambda broker, trap: broker.sink("out", partition=trap.giving(lambda _: 0)),
    "encode": lambda broker, trap: broker.sink("out", encode=trap.giving(bytes)),
}


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, Untold, TimeoutError])
@pytest.mark.parametrize("end", ENDS)
def test_exception_for_a_part_of_a_record_stops_there_and_loses_nothing(
    end: str, error: type[Exception], at: int
) -> None:
    broker, trap = broker_with("t"), Trap(at, error)
    broker.create_topic("out")
    flow = broker.source("t", group_id="g") | ENDS[end](broker, trap)
    with pytest.raises(StepFailed) as failed:
        flow.run(until="end")
    assert isinstance(failed.value.__cause__, error)
    assert (failed.value.step, failed.value.offset, failed.value.input) == ("sink", at, str(at).encode())
    assert [record.value for record in broker.read("out")] == values(0, at)
    assert broker.committed("g") == {PLACE: at}
    trap.armed = False
    flow.run(until="end")
    assert [record.value for record in broker.read("out")] == values(0, COUNT)


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("end", ENDS)
def test_interrupt_for_a_part_of_a_record_ends_the_run_and_is_raised_as_it_is(
    end: str, error: type[BaseException], at: int
) -> None:
    broker, trap = broker_with("t"), Trap(at, error)
    broker.create_topic("out")
    flow = broker.source("t", group_id="g") | ENDS[end](broker, trap)
    with pytest.raises(error):
        flow.run(until="end")
    assert [record.value for record in broker.read("out")] == values(0, at)
    assert broker.committed("g") == {PLACE: at}
    trap.armed = False
    flow.run(until="end")
    assert [record.value for record in broker.read("out")] == values(0, COUNT)


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, Untold, KeyboardInterrupt, SystemExit])
def test_decoder_that_raises_stops_there_and_loses_nothing(error: type[BaseException], at: int) -> None:
    broker, trap = broker_with("t"), Trap(at, error)
    got: list[bytes] = []
    flow = broker.source("t", group_id="g", decode=trap.giving(bytes)) | sink(got.append)
    with pytest.raises(StepFailed if issubclass(error, Exception) else error):
        flow.run(until="end")
    assert (got, broker.committed("g")) == (values(0, at), {PLACE: at})
    trap.armed = False
    flow.run(until="end")
    assert got == values(0, COUNT)


class Store:
    """Raises once before it takes a chunk with one value in it."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self.at, self.error = str(at).encode(), error
        self.got: list[bytes] = []
        self.armed = True

    def write(self, chunk: Sequence[bytes]) -> None:
        if self.armed and self.at in chunk:
            raise self.error
        self.got += chunk


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, Untold, KeyboardInterrupt, SystemExit])
def test_write_that_raises_commits_only_what_was_written(error: type[BaseException], at: int) -> None:
    broker, store = broker_with("t"), Store(at, error)
    flow = broker.source("t", group_id="g") | sink(store)
    with pytest.raises(StepFailed if issubclass(error, Exception) else error):
        flow.run(until="end", commit=immediately)
    assert store.got == values(0, broker.committed("g")[PLACE])
    store.armed = False
    flow.run(until="end")
    assert store.got == values(0, COUNT)


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_iterable_that_raises_gave_what_came_before(error: type[BaseException], at: int) -> None:
    class Broken:
        """An iterator, and no generator: these turn StopIteration into RuntimeError."""

        def __init__(self) -> None:
            self.next = 0

        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            self.next += 1
            if self.next > at:
                raise error
            return self.next - 1

    got: list[int] = []
    flow = from_iterable(Broken) | sink(got.append)
    if error is StopIteration:
        flow.run()  # how an iterator says that it has no more
    else:
        with pytest.raises(error):
            flow.run()
    assert got == list(range(at))


@pytest.mark.parametrize("error", [ValueError, StopIteration])
@pytest.mark.parametrize("stateful", [lambda initial: scan(max, initial), lambda initial: fold(max, initial, size=1)])
def test_initial_that_raises_fails_the_record_that_needs_it(error: type[Exception], stateful: Any) -> None:
    def initial() -> int:
        raise error

    with pytest.raises(StepFailed) as failed:
        (from_iterable([1, 2]) | stateful(initial) | to_list()).run()
    assert isinstance(failed.value.__cause__, error)
    assert failed.value.offset == 0


class Faulty:
    """A sink whose methods raise what they are told to; ``calls``: which of them were called."""

    def __init__(self, calls: list[str], **errors: BaseException) -> None:
        self.calls, self.errors = calls, errors

    def open(self) -> None:
        self.call("open")

    def write(self, values: Sequence[bytes]) -> None:
        self.call("write")

    def close(self) -> None:
        self.call("close")

    def call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.errors:
            raise self.errors[name]


@pytest.mark.parametrize(("method", "committed"), [("open", 0), ("close", COUNT)])
def test_sink_that_does_not_open_or_close_fails_its_step_without_a_record(method: str, committed: int) -> None:
    broker = broker_with("t")
    store = Faulty([], **{method: OSError("disk full")})
    with pytest.raises(StepFailed, match=f"step 'store' failed: OSError: disk full\n.*Faulty.{method}") as caught:
        (broker.source("t", group_id="g") | sink(store, name="store")).run(until="end")
    failed = caught.value
    assert (failed.step, failed.count, failed.topic) == ("store", 0, "")
    assert (failed.function, failed.file) == (f"{__name__}.Faulty.{method}", __file__)
    assert isinstance(failed.__cause__, OSError)
    assert "on_error" not in str(failed)
    assert broker.committed("g") == {PLACE: committed}


def test_sink_that_does_not_close_does_not_hide_what_failed_before(caplog: pytest.LogCaptureFixture) -> None:
    store = Faulty([], write=ValueError("bad row"), close=OSError("gone"))
    with pytest.raises(StepFailed, match="bad row"):
        (from_iterable([b"1"]) | sink(store)).run()
    assert "OSError: gone" in caplog.text


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt()])
def test_sinks_are_all_closed_whatever_one_of_them_raises(error: BaseException) -> None:
    calls: list[str] = []
    first, last = Faulty(calls), Faulty(calls)
    with pytest.raises((StepFailed, KeyboardInterrupt)):
        (from_iterable([b"1"]) | broadcast(sink(first), sink(Faulty([], close=error)), sink(last))).run()
    assert calls.count("close") == 2


def test_sinks_that_are_open_are_closed_when_another_does_not_open() -> None:
    calls: list[str] = []
    with pytest.raises(StepFailed, match="disk full"):
        (from_iterable([b"1"]) | broadcast(sink(Faulty(calls)), sink(Faulty(calls, open=OSError("disk full"))))).run()
    assert sorted(calls) == ["close", "open", "open"]


@pytest.mark.parametrize("given", [{}, {"key": bytes}], ids=["columns", "one by one"])
def test_encode_that_forgets_to_return_fails_its_record_and_writes_no_tombstone(given: dict[str, Any]) -> None:
    broker = broker_with("t")
    broker.create_topic("out")

    def encode(value: bytes) -> Any:
        return None if value == b"3" else value

    flow = broker.source("t", group_id="g") | broker.sink("out", encode=encode, **given)
    with pytest.raises(StepFailed, match="encode made None of a value") as failed:
        flow.run(until="end")
    assert failed.value.offset == 3
    assert [record.value for record in broker.read("out")] == values(0, 3)
    assert broker.committed("g") == {PLACE: 3}
    with pytest.raises(TypeError, match="encode made None of a value"):
        broker.write("out", [b"3"], encode=encode)


@pytest.mark.parametrize("given", [{}, {"key": lambda _: "k"}], ids=["columns", "one by one"])
def test_value_that_is_none_is_a_tombstone_beside_others(given: dict[str, Any]) -> None:
    broker = LocalBroker()
    broker.write("t", ["a", None, "b"], key="k")
    flow = broker.source("t", group_id="g", tombstones="keep") | broker.sink("out", encode=bytes.upper, **given)
    flow.run(until="end")
    assert [record.value for record in broker.read("out")] == [b"A", None, b"B"]
