"""The step that members of a chaos run work with: where it stands, or slowly and elsewhere."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from flowdsl import Record, map_, processes

Pair = tuple[bytes, Record[bytes | None]]


def line(pair: Pair) -> str:
    value, record = pair
    return f"{record.partition} {record.offset} {value.decode()}"


def seconds(pair: Pair) -> float:
    """How long a record takes, elsewhere: up to 8 ms, so that records would pass each other."""
    return int(pair[0]) % 5 * 0.002


def after_a_while(pair: Pair) -> str:
    time.sleep(seconds(pair))
    return line(pair)


async def some_time_later(pair: Pair) -> str:
    await asyncio.sleep(seconds(pair))
    return line(pair)


def computed(pair: Pair) -> str:
    until = time.perf_counter() + seconds(pair) / 40
    while time.perf_counter() < until:
        pass
    return line(pair)


STEPS: dict[str, Any] = {
    "plain": map_(line),
    "values": map_(line),
    "threads": map_(after_a_while, concurrency=32),
    "coroutines": map_(some_time_later, concurrency=64),
    "processes": map_(computed, scheduler=processes(2)),
}
