"""Two members with one identity: the older one is told, and ends by itself."""

from __future__ import annotations

import pytest

from flowdsl import Fenced, Kafka, every, sink
from tests.kafka.helpers import add, fill, wait_for

pytestmark = pytest.mark.slow


def test_member_whose_identity_was_taken_over_ends_with_fenced(kafka: Kafka, t: str, g: str) -> None:
    fill(kafka, t, 10)
    values: list[int] = []
    flow = kafka.source(t, group_id=g, decode=int, settings={"group.instance.id": "one"}) | sink(values.append)
    older = flow.start(commit=every(seconds=0.2))
    wait_for(lambda: sum(kafka.committed(g).values()) == 10)
    with flow.start(commit=every(seconds=0.2)) as newer:
        with pytest.raises(Fenced, match=r"group\.instance\.id"):
            older.result(timeout=120)
        add(kafka, t, range(10, 20))
        wait_for(lambda: sum(kafka.committed(g).values()) == 20)
        newer.stop(timeout=120)
    assert set(values) == set(range(20))
