"""The same as flows: ``by_flow.py JOB ADDRESS TOPIC GROUP RECORDS``."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from jobs import BATCH, READING, WRITING, Counting, Latencies, Sizes, Watch, dumps, enrich, keep, loads

from flowdsl import Flow, Kafka, batch, filter_, map_, sink


def reading(address: str, topic: str, group: str) -> Flow[bytes]:
    return Kafka(address).source(topic, group_id=group, settings=READING)


DIGITS = bytes.maketrans(b"\0\1", b"01")


def into_a_sink(address: str, topic: str, group: str, records: int) -> None:
    rows = Counting(records // 2)
    source = reading(address, topic, group)
    flow = source | map_(loads) | filter_(keep) | map_(enrich) | batch(BATCH, within=1.0) | sink(rows)
    flow.run(count=records)


def into_a_topic(address: str, topic: str, group: str, records: int, **more: Any) -> None:
    more = more or {"key": None, "headers": None, "timestamp": None}
    end: Any = Kafka(address).sink(f"{topic}-out", encode=dumps, settings=WRITING, **more)
    flow: Any = reading(address, topic, group) | map_(loads) | filter_(keep) | map_(enrich) | end
    watch = Watch()
    handle = flow.start(count=records)
    while not handle.stats.read:
        time.sleep(0.001)
    watch.start()
    handle.result()
    watch.stop(records)


def with_everything(address: str, topic: str, group: str, records: int) -> None:
    into_a_topic(address, topic, group, records, name="everything")  # what is inherited is the default


def as_they_come(address: str, topic: str, group: str, records: int) -> None:
    (reading(address, topic, group) | sink(Latencies(records))).run(count=records)


def in_company(address: str, topic: str, group: str, records: int) -> None:
    """One of several members, who together read everything; tells what came to this one, and when. May be stopped."""
    times: list[float] = []
    count = [0]
    seen = bytearray(records)

    def note(rows: list[Any]) -> None:
        times.append(time.monotonic())
        count[0] += len(rows)
        for row in rows:
            seen[row["id"]] = 1

    flow = reading(address, topic, group) | map_(loads) | map_(enrich) | batch(BATCH, within=1.0) | sink(note)
    # What was seen is told, also where the run is over when one is sent away.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(KeyboardInterrupt):  # stopped by a signal, before the end
        flow.run(until="end")
    told = {"records": count[0], "first": min(times, default=0.0), "last": max(times, default=0.0)}
    bits = int(seen.translate(DIGITS)[::-1].decode(), 2)
    sys.stdout.write(json.dumps({**told, "seen": f"{bits:x}"}) + "\n")


def in_memory(address: str, topic: str, group: str, records: int) -> None:
    sizes = Sizes(records)
    flow = reading(address, topic, group) | map_(loads) | map_(enrich) | batch(BATCH, within=1.0) | sink(sizes)
    flow.run(count=records)
    sizes.tell()


JOBS: dict[str, Callable[..., None]] = {
    "into_a_sink": into_a_sink,
    "into_a_topic": into_a_topic,
    "with_everything": with_everything,
    "in_company": in_company,
    "in_memory": in_memory,
    "one_by_one": as_they_come,
    "as_they_come": as_they_come,
}

if __name__ == "__main__":
    job, address, topic, group, records = sys.argv[1:]
    JOBS[job](address, topic, group, int(records))
