"""Runs a ``StreamProcessor`` in a thread until a condition holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import Any

from flowdsl import LocalBroker, Topic
from flowdsl.processing import IMMEDIATE, StreamProcessor
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

PATIENCE = 60.0
TOPIC = Topic("orders")
P0 = Partition(TOPIC, 0)


class Factory(ProcessingStrategyFactory[KafkaPayload]):
    """One function and a commit; notes what it was asked for."""

    def __init__(self, function: Callable[[Message[KafkaPayload]], object] = lambda message: message.payload) -> None:
        self.function = function
        self.created: list[dict[Partition, int]] = []
        self.shutdowns = 0

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        self.created.append(dict(partitions))
        return RunTask(self.function, CommitOffsets(commit))

    def shutdown(self) -> None:
        self.shutdowns += 1


class Running:
    """A processor in a thread of its own."""

    def __init__(self, processor: StreamProcessor) -> None:
        self.processor = processor
        self.error: BaseException | None = None
        self.over = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def wait_for(self, condition: Callable[[], object]) -> None:
        until = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < until, "the processor did not come so far"
            if self.over.wait(0.005):
                if self.error is not None:
                    raise self.error
                assert condition(), "the processor ended too early"

    def end(self) -> None:
        self.processor.signal_shutdown()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            self.processor.run()
        except BaseException as error:  # noqa: BLE001  # raised again by the test
            self.error = error
        self.over.set()


@contextmanager
def running(
    broker: LocalBroker, factory: ProcessingStrategyFactory[Any], *, group_id: str = "g", **given: Any
) -> Iterator[Running]:
    """While the processor runs; shut down at the end, and what it raised is raised."""
    consumer = broker.consumer(group_id=group_id)
    run = Running(StreamProcessor(consumer, TOPIC, factory, **given))
    try:
        yield run
    finally:
        run.end()
    if run.error is not None:
        raise run.error


def run_to_the_end(broker: LocalBroker, factory: ProcessingStrategyFactory[Any], **given: Any) -> None:
    """Until the group has nothing left to read. Commits at once, unless told otherwise."""
    given.setdefault("commit_policy", IMMEDIATE)
    group = given.setdefault("group_id", "g")
    with running(broker, factory, **given) as run:
        run.wait_for(lambda: broker.lag(group) and not sum(broker.lag(group).values()))


def letters(broker: LocalBroker, topic: str) -> list[dict[str, Any]]:
    """What is in a dead letter topic: value and headers."""
    if topic not in broker.topics():
        return []
    return [{"value": each.value, **dict(each.headers)} for each in broker.read(topic)]
