"""Exceptions where nobody expects them: out of a callback, and out of Ctrl-C in a notebook, while records are being read."""

from __future__ import annotations

import time
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from flowdsl import Kafka, every, sink
from tests.kafka.helpers import ROOT, add, fill, wait_for

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyboardInterrupt])
def test_callback_that_raises_loses_nothing(kafka: Kafka, t: str, g: str, error: type[BaseException]) -> None:
    fill(kafka, t, 20_000)
    values: list[int] = []

    def statistics(_: str) -> None:
        if len(values) > 100:
            raise error("a callback that fails")

    def work(value: int) -> None:
        values.append(value)
        time.sleep(0.0001)

    settings: dict[str, Any] = {"stats_cb": statistics, "statistics.interval.ms": 10}
    flow = kafka.source(t, group_id=g, decode=int, settings=settings) | sink(work)
    mended = kafka.source(t, group_id=g, decode=int) | sink(values.append)
    with pytest.raises(error, match="a callback that fails"):
        flow.run(until="end", timeout=120.0, commit=every(seconds=0.05))
    assert 100 < len(values) < 20_000, "it failed while records were read"
    mended.run(until="end", timeout=120.0)
    assert sorted(set(values)) == list(range(20_000))
    assert values == sorted(values), "nothing was passed over before it was read"


CELL = """
import time
from flowdsl import Kafka, sink

kafka = Kafka({address!r})
values, seconds = [], 0.002
def work(value):
    values.append(value)
    time.sleep(seconds)
flow = kafka.source({topic!r}, group_id={group!r}, decode=int) | sink(work)
"""


def test_interrupted_cell_loses_nothing(kafka: Kafka, kafka_address: str, t: str, g: str) -> None:
    fill(kafka, t, 20_000)
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        cell = CELL.format(address=kafka_address, topic=t, group=g)
        client.execute_interactive(cell, timeout=120, output_hook=lambda _: None)
        for _ in range(3):
            client.execute("flow.run()")
            before = sum(kafka.committed(g).values())
            wait_for(lambda: sum(kafka.committed(g).values()) > before)  # noqa: B023  # waited for in this turn
            manager.interrupt_kernel()
            assert client.get_shell_msg(timeout=120)["content"]["status"] == "ok", "an unbounded run returns"
        add(kafka, t, range(20_000, 20_001))
        found: list[str] = []
        client.execute_interactive(
            "seconds = 0.0; flow.run(until='end'); print(sorted(set(values)) == list(range(20_001)), values == sorted(values))",
            timeout=120,
            output_hook=lambda message: found.append(str(message["content"].get("text", message["content"]))),
        )
        assert "True True" in "".join(found)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
