"""What every contender has to do, and with which settings: the same functions and the same librdkafka for everybody."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import orjson

READING: dict[str, Any] = {"fetch.queue.backoff.ms": 10}
"""librdkafka's default of 1000 starves whoever is fast, the hand-written loop as well."""

WRITING: dict[str, Any] = {
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "queue.buffering.max.messages": 100_000,
}
COMMIT_EVERY = 1.0
BATCH = 1000

loads = orjson.loads
dumps = orjson.dumps


def keep(event: dict[str, Any]) -> bool:
    return event["country"] == "DE"


def enrich(event: dict[str, Any]) -> dict[str, Any]:
    event["total"] = event["price"] * event["amount"]
    return event


def events(count: int) -> list[bytes]:
    return [event(number) for number in range(count)]


def event(number: int) -> bytes:
    """About 190 bytes of JSON; every second one is kept."""
    return dumps(
        {
            "id": number,
            "country": "DE" if number % 2 else "FR",
            "price": number % 100 + 0.5,
            "amount": number % 7 + 1,
            "customer": f"customer-{number % 5000:06d}",
            "paid": number % 3 == 0,
            "note": "x" * 70,
        }
    )


def small(number: int) -> bytes:
    """An event without anything that is not needed."""
    return b'{"price":%d,"amount":2}' % (number % 100)


class Watch:
    """Wall time and the time of all threads of this process, from ``start`` to ``stop``."""

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self, records: int, **more: Any) -> None:
        """Tell the parent, and end here: nobody is measured on how they leave."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        sys.stdout.write(
            json.dumps({"records": records, "began": self._wall, "seconds": wall, "cpu": cpu, **more}) + "\n"
        )
        sys.stdout.flush()


class Counting:
    """A sink for lists: measures from the first list to the last."""

    def __init__(self, total: int) -> None:
        self.total, self.count, self.first, self.watch = total, 0, 0, Watch()

    def __call__(self, rows: list[Any]) -> None:
        if not self.count:
            self.first = len(rows)
            self.watch.start()
        self.count += len(rows)
        if self.count >= self.total > self.count - len(rows):
            self.watch.stop((self.count - self.first) * 2)


class Sizes:
    """A sink for lists: resident megabytes after a tenth of the records, and after all."""

    def __init__(self, total: int) -> None:
        self.total, self.count = total, 0
        self.found: list[float] = []

    def __call__(self, rows: list[Any]) -> None:
        before, self.count = self.count, self.count + len(rows)
        if before < self.total // 10 <= self.count or before < self.total <= self.count:
            with open("/proc/self/status") as status:  # noqa: PTH123  # not a file
                self.found.append(next(int(row.split()[1]) for row in status if row.startswith("VmRSS")) / 1024)

    def tell(self) -> None:
        sys.stdout.write(json.dumps({"records": self.count, "megabytes": self.found}) + "\n")


WARM = 1_000_000_000
"""Nanoseconds after the first record from which on it counts how late one is: until then it waited for the group."""


class Latencies:
    """A sink for values that hold the nanosecond at which they were sent."""

    def __init__(self, total: int) -> None:
        self.total, self.count, self.since = total, 0, 0
        self.found: list[int] = []
        self.watch = Watch()

    def __call__(self, value: bytes) -> None:
        now, sent = time.monotonic_ns(), int(value)
        if not self.count:
            self.since = now + WARM
            self.watch.start()
        self.count += 1
        if sent > self.since:
            self.found.append(now - sent)
        if self.count == self.total:
            ordered = sorted(self.found)
            median, late = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
            self.watch.stop(self.total, median_ms=median / 1e6, p99_ms=late / 1e6)
