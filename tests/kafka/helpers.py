"""What tests on a real Kafka share: topics with numbers, waiting with a deadline, and programs in processes of their own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from flowdsl import BrokerError, BrokerUnreachable, Kafka
from tests.kafka.server import unique

ROOT = Path(__file__).parents[2]
PATIENCE = 150.0
"""Seconds that something may take which takes two on a machine that does nothing else."""
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
"""The time of records that need one: brokers delete what is older than the retention, seven days, whenever they look."""


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return when it holds; fails when that takes too long. A broker that does not answer yet may later."""
    end = time.monotonic() + seconds
    while True:
        trouble: BrokerUnreachable | None = None
        try:
            if condition():
                return
        except BrokerUnreachable as error:
            trouble = error
        assert time.monotonic() < end, f"this takes too long: {trouble or 'it does not hold'}"
        time.sleep(0.05)


def fill(kafka: Kafka, topic: str, records: int, *, partitions: int = 1) -> None:
    """A topic with the numbers from 0, round the partitions."""
    kafka.create_topic(topic, partitions=partitions)
    add(kafka, topic, range(records), partitions=partitions)


def add(kafka: Kafka, topic: str, numbers: range, *, partitions: int = 1) -> None:
    kafka.write(topic, map(str, numbers), partition=lambda value: int(value) % partitions)


def transactions(address: str, topic: str, *ends: tuple[range, bool], key: str | None = None) -> None:
    """Numbers in transactions, each of which is committed or given up, with the marks that say so in the topic's log."""
    settings: dict[str, Any] = {"bootstrap.servers": address, "transactional.id": unique("x")}
    producer = Producer(settings)
    producer.init_transactions(30)
    for numbers, is_committed in ends:
        producer.begin_transaction()
        for number in numbers:
            producer.produce(topic, str(number).encode(), key=key, partition=0)
        producer.flush(30)
        (producer.commit_transaction if is_committed else producer.abort_transaction)(30)
    Producer(settings).init_transactions(60)  # which waits until the last of them is over


def answers(kafka: Kafka, topic: str) -> bool:
    """Whether the topic can be read, and records are taken: a broker that is back may need longer than users wait."""
    try:
        kafka.create_topic("probe")
        kafka.write("probe", ["?"])
        kafka.read(topic, count=1)
    except BrokerError:
        return False
    return True


@contextlib.contextmanager
def program(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program in a process of its own, with pipes; killed at the end if it is still there."""
    command = [sys.executable, "-u", "-c", source, *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: subprocess.Popen[str], last: str) -> list[str]:
    """What the program prints, up to that line. Fails with what it complained of when it ends before."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if lines[-1] == last:
            return lines
    assert process.stderr is not None
    raise AssertionError(f"{last!r} was never printed, but {lines[-5:]}: {process.stderr.read()[-3000:]}")
