"""Ctrl-C at whatever line the library has come to: nothing is lost, nothing is committed too early, nobody is waited for.

A run is interrupted at some of the lines that it takes; then the next one of its group has to come to the end of the
topic, as the next cell of a notebook would.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import flowdsl
from flowdsl import ClosedFlow, LocalBroker, Topic, batch, broadcast, dead_letter, every, filter_, map_, sink
from flowdsl.flow import running
from flowdsl.flow.execution import Execution
from flowdsl.processing import CommitPolicy, DlqPolicy, InvalidMessage, KafkaDlqProducer, StreamProcessor
from flowdsl.strategies import (
    Commit,
    CommitOffsets,
    KafkaPayload,
    Message,
    Partition,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    RunTask,
)

PACKAGE = str(Path(flowdsl.__file__).parent)
VALUES = [b"%02d" % number for number in range(12)]
SAMPLES = 15
"""At how many of the lines that a run takes it is interrupted."""
PATIENCE = 60.0


class Lines:
    """Counts the lines of the library that are executed, and calls ``then`` before one of them."""

    def __init__(self, at: int, then: Callable[[], None]) -> None:
        self.count, self._at, self._then = 0, at, then

    @contextmanager
    def counted(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    def go_on(self, more: int) -> None:
        """Call it again, so many lines later."""
        self._at = self.count + more

    def _called(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        # Python looks for signals after calls, never between the end of the body of a ``with`` and the lock's release.
        is_with = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")
        if event == "line" and not is_with:
            self.count += 1
            if self.count == self._at:
                self._then()
        return self._line


Run = Callable[[LocalBroker, list[bytes], int], Lines]
"""One run, which is interrupted before a line; 0: never. Notes the values that it got."""


@contextmanager
def orders() -> Iterator[LocalBroker]:
    with LocalBroker(partitions=2) as broker:
        broker.write("orders", VALUES, partition=lambda value: int(value) % 2)
        yield broker


def delivered(broker: LocalBroker, got: list[bytes]) -> set[bytes]:
    written = broker.read("out") if "out" in broker.topics() else []
    return {*got, *(record.value for record in written if record.value is not None)}


def hold(run: Run) -> None:
    """Whatever line a run is interrupted at."""
    with orders() as broker:
        count = run(broker, [], 0).count
    for at in range(1, count, max(1, count // SAMPLES)):
        with orders() as broker:
            got: list[bytes] = []
            run(broker, got, at)
            ends = {partition.index: offset for partition, offset in broker.committed("g").items()}
            below = {each.value for each in broker.read("orders") if each.offset < ends.get(each.partition, 0)}
            assert below <= delivered(broker, got), f"committed too early, interrupted at line {at}"
            (broker.source("orders", group_id="g") | sink(got.append)).run(until="end", timeout=PATIENCE)
            assert delivered(broker, got) == set(VALUES), f"lost, interrupted at line {at}"


# -- two signals ----------------------------------------------------------------------------------------------------------


def odd(value: bytes) -> bytes:
    if int(value) % 5 == 0:
        raise ValueError(value)
    return value


FLOWS: dict[str, Callable[[LocalBroker, list[bytes]], ClosedFlow[Any]]] = {
    "batch": lambda broker, got: (
        broker.source("orders", group_id="g") | filter_(bool) | batch(4, within=0.01) | sink(got.extend)
    ),
    "branches": lambda broker, got: (
        broker.source("orders", group_id="g") | broadcast(batch(3) | sink(len), sink(got.append))
    ),
    "dead letters": lambda broker, got: (
        broker.source("orders", group_id="g") | map_(odd, on_error=dead_letter(broker.sink("out"))) | sink(got.append)
    ),
    "topic": lambda broker, got: broker.source("orders", group_id="g") | map_(bytes.lower) | broker.sink("out"),
}


@pytest.mark.parametrize("between", [1, 40, 400])
@pytest.mark.parametrize("name", FLOWS)
def test_flow_that_gets_two_signals(name: str, between: int) -> None:
    """The first ends it in order, and the second at once, so many lines later."""

    def run(broker: LocalBroker, got: list[bytes], at: int) -> Lines:
        flow = FLOWS[name](broker, got)
        given: dict[str, Any] = {"count": None, "timeout": None, "until": "end", "commit": every(messages=3)}
        given |= {"on_error": "stop", "stop_timeout": 5.0, "progress": False}
        execution = Execution(flow.plan, running.options(flow, **given))

        def signal() -> None:
            if not execution.interrupted:
                execution.stop()
                lines.go_on(between)
                return
            execution.abandon()
            raise KeyboardInterrupt

        lines = Lines(at, signal)
        with suppress(KeyboardInterrupt), lines.counted():
            execution.run()
        return lines

    hold(run)


# -- no handlers ----------------------------------------------------------------------------------------------------------


class Checking(ProcessingStrategyFactory[KafkaPayload]):
    """Finds one in five invalid; when it has seen as many as there are, it calls ``over``."""

    over: Callable[[], None]

    def __init__(self, got: list[bytes]) -> None:
        self.got = got
        self.seen = 0

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        return RunTask(lambda message: message.payload, RunTask(self.check, CommitOffsets(commit)))

    def check(self, message: Message[KafkaPayload]) -> None:
        self.seen += 1
        if self.seen == len(VALUES):
            self.over()
        value = message.payload.value or b""
        if int(value) % 5 == 0:
            raise InvalidMessage.from_value(message)
        self.got.append(value)


def test_processor_that_gets_ctrl_c() -> None:
    """It installs no handlers: the exception comes from wherever the library is."""

    def run(broker: LocalBroker, got: list[bytes], at: int) -> Lines:
        def interrupt() -> None:
            raise KeyboardInterrupt

        lines = Lines(at, interrupt)
        checking = Checking(got)
        policy, letters = CommitPolicy(None, 3), DlqPolicy(KafkaDlqProducer(broker.producer(), Topic("out")))
        consumer = broker.consumer(group_id="g")
        processor = StreamProcessor(consumer, Topic("orders"), checking, policy, letters, join_timeout=5.0)
        checking.over = processor.signal_shutdown
        with suppress(KeyboardInterrupt), lines.counted():
            processor.run()
        return lines

    hold(run)
