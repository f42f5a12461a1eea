"""On a real Kafka: a worker process is killed under load. The flow goes on, and after a restart everything is in the sink."""

from __future__ import annotations

import os

import pytest

from flowdsl import Kafka, every, map_, processes, sink
from tests.kafka.chaos.members import children_of
from tests.kafka.helpers import fill, wait_for
from tests.pool.killing import Killer

pytestmark = pytest.mark.slow

RECORDS = 40_000


def squared(value: int) -> int:
    return value * value


def test_flow_goes_on_when_a_worker_process_is_killed_under_load(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, RECORDS, partitions=2)
    before = set(children_of(os.getpid()))
    values: list[int] = []

    def workers() -> set[int]:
        return set(children_of(os.getpid())) - before

    source = kafka.source(t, group_id=g, decode=int)
    flow = source | map_(squared, scheduler=processes(2)) | sink(values.append)
    killer = Killer(workers)
    with flow.start(commit=every(seconds=0.1)) as handle:
        for killed in range(3):
            wait_for(lambda: len(values) > killed * 2_000)  # noqa: B023  # waited for in this turn
            killer.kill()
        handle.stop()
    assert sum(kafka.committed(g).values()) <= len(values)
    flow.run(until="end", timeout=120.0, commit=every(seconds=0.1))
    assert set(values) == {n * n for n in range(RECORDS)}
    assert sum(kafka.committed(g).values()) == RECORDS
    assert not workers()
