"""The loops that one would write without any library: ``by_hand.py JOB ADDRESS TOPIC GROUP RECORDS``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, Message, Producer
from jobs import BATCH, COMMIT_EVERY, READING, WRITING, Counting, Latencies, Sizes, Watch, dumps, enrich, keep, loads


class Reading:
    """A consumer that commits what it has read each second, asynchronously."""

    def __init__(self, address: str, topic: str, group: str) -> None:
        settings = {"bootstrap.servers": address, "group.id": group, "enable.auto.commit": False}
        self.consumer = Consumer({**settings, "auto.offset.reset": "earliest", **READING})
        self.consumer.subscribe([topic])
        self._last = time.monotonic()

    def commit(self, before: Callable[[], Any] = lambda: None) -> None:
        now = time.monotonic()
        if now - self._last >= COMMIT_EVERY:
            self._last = now
            before()
            positions = [each for each in self.consumer.position(self.consumer.assignment()) if each.offset >= 0]
            if positions:
                self.consumer.commit(offsets=positions, asynchronous=True)


def into_a_sink(address: str, topic: str, group: str, records: int) -> None:
    reading, sink = Reading(address, topic, group), Counting(records // 2)
    rows: list[Any] = []
    read = 0
    while read < records:
        messages = reading.consumer.consume(1000, 0.1)
        for message in messages:
            if message.error():
                raise RuntimeError(message.error())
            event = loads(message.value())
            if keep(event):
                rows.append(enrich(event))
                if len(rows) == BATCH:
                    sink(rows)
                    rows = []
        read += len(messages)
        reading.commit()
    if rows:
        sink(rows)


def into_a_topic(address: str, topic: str, group: str, records: int, *, inherits: bool = False) -> None:
    reading = Reading(address, topic, group)
    producer = Producer({"bootstrap.servers": address, **WRITING})
    failed: list[Any] = []

    def report(error: Any, _: Message) -> None:
        if error is not None:
            failed.append(error)

    watch, read, out = Watch(), 0, f"{topic}-out"
    while read < records:
        messages = reading.consumer.consume(1000, 0.1)
        if messages and not read:
            watch.start()
        for message in messages:
            if message.error():
                raise RuntimeError(message.error())
            event = loads(message.value())
            if keep(event):
                more: dict[str, Any] = {}
                if inherits:
                    more = {"key": message.key(), "headers": message.headers(), "timestamp": message.timestamp()[1]}
                send(producer, out, dumps(enrich(event)), report, more)
        read += len(messages)
        producer.poll(0)
        reading.commit(producer.flush)
    producer.flush()
    assert not failed, failed[:3]
    watch.stop(records)


def send(producer: Producer, topic: str, value: bytes, report: Any, more: dict[str, Any]) -> None:
    while True:
        try:
            producer.produce(topic, value, on_delivery=report, **more)
        except BufferError:
            producer.poll(0.01)
        else:
            return


def with_everything(address: str, topic: str, group: str, records: int) -> None:
    into_a_topic(address, topic, group, records, inherits=True)


def one_by_one(address: str, topic: str, group: str, records: int) -> None:
    reading, sink = Reading(address, topic, group), Latencies(records)
    for _ in range(records):
        message = None
        while message is None:
            message = reading.consumer.poll(0.1)
            reading.commit()
        sink(message.value())


def as_they_come(address: str, topic: str, group: str, records: int) -> None:
    reading, sink = Reading(address, topic, group), Latencies(records)
    read = 0
    while read < records:
        messages = reading.consumer.consume(1000, 0.1)
        for message in messages:
            sink(message.value())
        read += len(messages)
        reading.commit()


def in_memory(address: str, topic: str, group: str, records: int) -> None:
    reading, sizes = Reading(address, topic, group), Sizes(records)
    while sizes.count < records:
        rows = [enrich(loads(message.value())) for message in reading.consumer.consume(BATCH, 0.1)]
        sizes(rows)
        reading.commit()
    sizes.tell()


JOBS = {job.__name__: job for job in (into_a_sink, into_a_topic, with_everything, one_by_one, as_they_come, in_memory)}

if __name__ == "__main__":
    job, address, topic, group, records = sys.argv[1:]
    JOBS[job](address, topic, group, int(records))
