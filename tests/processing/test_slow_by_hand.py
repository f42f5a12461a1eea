"""Threads and processes wired by hand, under ``StreamProcessor``, which drives them in a thread that is not main."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import sleep
from typing import Any

import pytest

from flowdsl import LocalBroker
from flowdsl.errors import InvalidMessage
from flowdsl.strategies import (
    BatchStep,
    Commit,
    CommitOffsets,
    KafkaPayload,
    Message,
    MultiprocessingPool,
    Partition,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    RunTask,
    RunTaskInThreads,
    RunTaskWithMultiprocessing,
)
from tests.pool.killing import Killer
from tests.processing.running import P0, run_to_the_end, running

COUNT = 400


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as made:
        made.write("orders", range(COUNT), encode=str)
        yield made


def number(message: Message[KafkaPayload]) -> int:
    """The number of a record; one that is 13 cannot be handled."""
    sleep(0.001)
    n = int(message.payload.value or b"")
    if n == 13:
        raise InvalidMessage.from_value(message, reason="unlucky")
    return n


class InThreads(ProcessingStrategyFactory[KafkaPayload]):
    def __init__(self) -> None:
        self.seen: list[int] = []

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        keep: RunTask[int, Any] = RunTask(lambda message: self.seen.append(message.payload), CommitOffsets(commit))
        return RunTaskInThreads(number, 8, 32, keep)


class OnProcesses(ProcessingStrategyFactory[KafkaPayload]):
    def __init__(self) -> None:
        self.pool = MultiprocessingPool(2)
        self.seen: list[int] = []

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        keep: RunTask[Any, Any] = RunTask(self._keep, CommitOffsets(commit))
        return RunTaskWithMultiprocessing(number, BatchStep(7, 0.05, keep), 20, 0.1, self.pool)

    def _keep(self, message: Message[Any]) -> None:
        self.seen += [value.payload for value in message.payload]

    def shutdown(self) -> None:
        self.pool.close()


EXPECTED = [n for n in range(COUNT) if n != 13]


def test_threads(broker: LocalBroker) -> None:
    factory = InThreads()
    run_to_the_end(broker, factory)
    assert factory.seen == EXPECTED
    assert broker.committed("g") == {P0: COUNT}


def test_processes(broker: LocalBroker) -> None:
    factory = OnProcesses()
    run_to_the_end(broker, factory)
    assert factory.seen == EXPECTED
    assert broker.committed("g") == {P0: COUNT}
    assert factory.pool.pids == []


def test_processes_that_are_killed_under_load(broker: LocalBroker) -> None:
    factory = OnProcesses()
    killer = Killer(lambda: factory.pool.pids)
    with running(broker, factory) as processor:
        for wanted in (50, 150):
            processor.wait_for(lambda wanted=wanted: len(factory.seen) >= wanted)  # type: ignore[misc]  # of a loop that waits
            killer.kill()
        processor.wait_for(lambda: broker.committed("g") == {P0: COUNT})
    assert factory.seen == EXPECTED
