"""Two members with one identity: one of them is told, and ends by itself; the other has everything."""

from __future__ import annotations

import pytest

from flowdsl import Fenced, Kafka, every, sink
from tests.kafka.helpers import add, fill, wait_for
from tests.kafka.protocols import KIP_848, in_every_protocol, settings_of

pytestmark = pytest.mark.slow


@in_every_protocol
def test_one_of_two_members_with_one_identity_ends_with_fenced(kafka: Kafka, t: str, g: str, protocol: str) -> None:
    fill(kafka, t, 10)
    values: list[int] = []
    settings = {**settings_of(protocol), "group.instance.id": "one"}
    flow = kafka.source(t, group_id=g, decode=int, settings=settings) | sink(values.append)
    older = flow.start(commit=every(seconds=0.2))
    wait_for(lambda: sum(kafka.committed(g).values()) == 10)
    newer = flow.start(commit=every(seconds=0.2))
    fenced, stays = (newer, older) if protocol == KIP_848 else (older, newer)
    with stays:
        with pytest.raises(Fenced, match=r"group\.instance\.id"):
            fenced.result(timeout=120)
        add(kafka, t, range(10, 20))
        wait_for(lambda: sum(kafka.committed(g).values()) == 20)
        stays.stop(timeout=120)
    assert set(values) == set(range(20))
