"""Whether a flow asks for more of its records than values: a broker need not bring what nobody looks at."""

from __future__ import annotations

from typing import Any

import pytest

from flowdsl import (
    Flow,
    LocalBroker,
    batch,
    broadcast,
    dead_letter,
    filter_,
    map_,
    merge,
    retry,
    sink,
    through,
    with_record,
)
from flowdsl.flow.execution import looks_at_records
from flowdsl.plan.names import named
from flowdsl.plan.policy import STOP
from flowdsl.strategies import RunTask

BROKER = LocalBroker()
DEAD = dead_letter(BROKER.sink("dead"))
BARE: dict[str, Any] = {"key": None, "headers": None, "timestamp": None}


def without(part: str) -> dict[str, Any]:
    """That part alone is inherited."""
    return {name: None for name in BARE if name != part}


class ByHand:
    """A strategy of one's own."""

    def create_with_partitions(self, commit: Any, partitions: Any, downstream: Any) -> Any:
        return RunTask(lambda message: message.payload, downstream)


def source(topic: str = "t") -> Flow[bytes]:
    return BROKER.source(topic, group_id="g")


def looks(flow: Any) -> bool:
    return looks_at_records(named(flow.plan), STOP)


@pytest.mark.parametrize(
    "flow",
    [
        source() | map_(bytes.decode) | filter_(bool) | batch(10) | sink(print),
        source() | map_(bytes.decode, on_error=retry(3, then="skip")) | sink(print),
        source() | BROKER.sink("u", **BARE),
        source() | BROKER.sink("u", **{**BARE, "key": lambda _: "k"}),
        merge(source("a"), source("b")) | sink(print),
    ],
)
def test_values_are_enough(flow: Any) -> None:
    assert not looks(flow)
    assert looks_at_records(named(flow.plan), DEAD), "dead letters of the run carry the whole record"


@pytest.mark.parametrize(
    "flow",
    [
        source() | with_record() | sink(print),
        source() | BROKER.sink("u"),
        *(source() | BROKER.sink("u", **without(part)) for part in BARE),
        source() | map_(bytes.decode, on_error=DEAD) | sink(print),
        source() | map_(bytes.decode, on_error=retry(3, then=DEAD)) | sink(print),
        source() | through(ByHand()) | sink(print),
        source() | broadcast(sink(print), BROKER.sink("u")),
        merge(source("a") | with_record() | map_(lambda pair: pair[0]), source("b")) | sink(print),
    ],
)
def test_whole_records_are_asked_for(flow: Any) -> None:
    assert looks(flow)
