"""A run that has read everything and waits for work under way is stopped: it has ``stop_timeout`` from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import sleep
from typing import Any

import pytest

from flowdsl import (
    ClosedFlow,
    LocalBroker,
    RunTimeout,
    StopTimeout,
    batch,
    dead_letter,
    filter_,
    from_iterable,
    map_,
    retry,
    sink,
)
from flowdsl.brokers.local.producer import LocalProducer

LONG = 30.0
"""Seconds that something takes which nobody is to wait for."""


async def slow(value: bytes) -> bytes:
    await asyncio.sleep(LONG)
    return value


def refuse(value: bytes) -> bytes:
    raise ValueError(value)


class Silent(LocalProducer):
    """Nothing is ever reported, as by a broker that is gone."""

    def poll(self, timeout: float = 0.0) -> None: ...


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> LocalBroker:
    made = LocalBroker()
    made.write("orders", ["0", "1", "2"])
    monkeypatch.setattr("flowdsl.brokers.local.client.LocalProducer", Silent)
    return made


FLOWS: dict[str, Callable[[Any, LocalBroker], ClosedFlow[Any]]] = {
    "coroutines": lambda source, _: source | filter_(bool) | map_(slow, concurrency=2) | batch(2) | sink(len),
    "coroutines, as ready": lambda source, _: source | map_(slow, concurrency=9, ordered=False) | sink(len),
    "a broker": lambda source, broker: source | broker.sink("out"),
    "dead letters": lambda source, broker: source | map_(refuse, on_error=dead_letter(broker.sink("out"))) | sink(len),
    "retries": lambda source, _: source | map_(refuse, on_error=retry(9, first=LONG, most=LONG)) | sink(len),
}


@pytest.mark.parametrize("name", FLOWS)
def test_run_of_a_group_has_its_stop_timeout_when_its_time_is_up(broker: LocalBroker, name: str) -> None:
    flow = FLOWS[name](broker.source("orders", group_id="g"), broker)
    with pytest.raises((StopTimeout, RunTimeout)):
        flow.run(until="end", timeout=0.2, stop_timeout=0.2)
    assert sum(broker.committed("g").values()) == 0


@pytest.mark.parametrize("name", FLOWS)
def test_run_over_values_in_memory_does_not_claim_to_be_done(broker: LocalBroker, name: str) -> None:
    flow = FLOWS[name](from_iterable([b"0", b"1", b"2"]), broker)
    handle = flow.start(stop_timeout=0.2)
    while handle.stats.read < 3:
        assert handle.running
        sleep(0.01)
    if name == "retries":
        handle.stop()  # what was to be tried later is not waited for
        return
    with pytest.raises(StopTimeout, match="3 records are not done"):
        handle.stop()
