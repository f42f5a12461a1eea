"""Fused, not fused, and on a plain list: the same comes out, however the records are chunked; and all is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from flowdsl import (
    LocalBroker,
    batch,
    broadcast,
    distinct_until_changed,
    filter_,
    flat_map,
    fold,
    map_,
    route,
    scan,
    sink,
    tap,
    through,
    unbatch,
)
from flowdsl.strategies import BrokerValue, Message, MessageRejected, Partition
from tests.stages.rows import Rows, windows
from tests.strategies.doubles import Passing
from tests.testing.broken import Through

Plain = Callable[[list[int]], list[int]]


@frozen
class Law:
    """An operator, and what it does to a list."""

    name: str
    operator: Any
    plain: Plain


def plus(total: int, value: int) -> int:
    return (total + value) % 1000


def folded(values: list[int], size: int) -> list[int]:
    groups = [values[at : at + size] for at in range(0, len(values), size)]
    return [list(accumulate(group, plus, initial=0))[-1] for group in groups]


LAWS = [
    Law("map_", map_(lambda value: value * 7 % 1000), lambda values: [value * 7 % 1000 for value in values]),
    Law("filter_", filter_(lambda value: value % 3), lambda values: [value for value in values if value % 3]),
    Law("filter_ of nothing", filter_(lambda _: True), lambda values: values),
    Law(
        "flat_map",
        flat_map(lambda value: [value] * (value % 3)),
        lambda values: [value for value in values for _ in range(value % 3)],
    ),
    Law("tap", tap(lambda _: None), lambda values: values),
    Law("scan", scan(plus, 0, per="flow"), lambda values: list(accumulate(values, plus, initial=0))[1:]),
    Law(
        "distinct_until_changed",
        distinct_until_changed(lambda value: value % 4, per="flow"),
        lambda values: [next(group) for _, group in groupby(values, lambda value: value % 4)],
    ),
    Law("batch and unbatch", batch(3) | unbatch(), lambda values: values),
    Law(
        "batch and map_",
        batch(2) | map_(sum),
        lambda values: [sum(values[at : at + 2]) for at in range(0, len(values), 2)],
    ),
    Law("fold", fold(plus, 0, size=4), lambda values: folded(values, 4)),
    Law(
        "route",
        route(lambda _: "only", {"only": map_(lambda value: value + 1)}),
        lambda values: [value + 1 for value in values],
    ),
]

Spread = Callable[[Sequence[Any]], Sequence[Any]]
SHAPES: dict[str, Spread] = {
    "fused": lambda operators: operators,
    "each in a branch": lambda operators: [broadcast(each) for each in operators],
    "one message at a time in between": lambda operators: [
        part for each in operators for part in (through(Through(Passing)), each)
    ],
}


class Offsets:
    """A commit that remembers how far it was called."""

    def __init__(self) -> None:
        self.reached: dict[Partition, int] = {}

    def __call__(self, offsets: Mapping[Partition, int], force: bool = False) -> None:
        for partition, offset in offsets.items():
            assert offset >= self.reached.get(partition, 0)
        self.reached.update(offsets)


def run(operators: Sequence[Any], messages: Sequence[Message[Any]]) -> tuple[list[int], dict[Partition, int]]:
    """What comes out of a compiled flow, and what is committed."""
    got: list[int] = []
    commit = Offsets()
    source: Any = LocalBroker().source("orders", group_id="g")
    flow = source.pipe(map_(lambda value: sum(value) % 1000), *operators, sink(got.append))
    factory = flow.compile()
    pipeline = factory.create_with_partitions(commit, {})
    for message in messages:
        while True:
            try:
                pipeline.submit(message)
            except MessageRejected:
                pipeline.poll()
            else:
                break
    pipeline.close()
    pipeline.join()
    factory.shutdown()
    return got, commit.reached


def singly(rows: Sequence[Rows]) -> list[Message[Any]]:
    """As a loop of somebody's own submits them."""
    return [Message(BrokerValue(value, *each.place(at))) for each in rows for at, value in enumerate(each.payload)]


@given(windows(), st.lists(st.sampled_from(LAWS), max_size=4))
def test_a_flow_is_what_it_is_on_a_list(rows: list[Rows], laws: list[Law]) -> None:
    expected = [sum(value) % 1000 for each in rows for value in each.payload]
    for law in laws:
        expected = law.plain(expected)
    ends: dict[Partition, int] = {}
    for each in rows:
        ends.update({place: offset + 1 for place, offset in each.rows})
        ends.update(each.positions)
    operators = [law.operator for law in laws]
    for name, shape in SHAPES.items():
        assert run(shape(operators), [Message(each) for each in rows]) == (expected, ends), name
    got, committed = run(operators, singly(rows))
    assert got == expected
    assert committed == {place: offset + 1 for each in rows for place, offset in each.rows}
