"""A stop, and a rebalance, while a concurrent step has all the work that it can hold: what has begun ends, the rest is read again."""

from __future__ import annotations

from time import monotonic, sleep
from typing import Any

import pytest

from flowdsl import JSON, LocalBroker, map_, processes, sink, threads

MANY = 5_000


def slow(n: int) -> int:
    sleep(0.02)
    return n


@pytest.mark.parametrize("scheduler", [threads(2), processes(2)], ids=["threads", "processes"])
def test_a_stop_does_not_wait_for_what_has_not_begun(scheduler: Any) -> None:
    seen: list[int] = []
    with LocalBroker() as broker:
        broker.write("numbers", range(MANY), encode=JSON)
        flow = broker.source("numbers", group_id="g", decode=JSON) | map_(slow, scheduler=scheduler) | sink(seen.append)
        with flow.start(stop_timeout=60.0) as run:
            until = monotonic() + 60.0
            while len(seen) < 20:
                assert monotonic() < until
                sleep(0.01)
            before = monotonic()
            run.stop()
            assert monotonic() - before < 30.0
        assert seen == list(range(len(seen)))
        assert sum(broker.committed("g").values()) == len(seen) < MANY


def test_a_member_that_joins_does_not_wait_for_what_has_not_begun() -> None:
    seen: list[int] = []
    with LocalBroker(partitions=2) as broker:
        for partition in range(2):
            broker.write("numbers", range(partition * MANY, (partition + 1) * MANY), encode=JSON, partition=partition)
        source = broker.source("numbers", group_id="g", decode=JSON)
        flow = source | map_(slow, scheduler=threads(2)) | sink(seen.append)
        with flow.start(stop_timeout=60.0) as first:
            until = monotonic() + 60.0
            while len(seen) < 20:
                assert monotonic() < until
                sleep(0.01)
            with flow.start(stop_timeout=60.0) as second:
                before = monotonic()
                assert second.wait_ready(60.0)
                assert monotonic() - before < 30.0
                second.stop()
            first.stop()
        assert sum(broker.committed("g").values()) <= len(set(seen))
