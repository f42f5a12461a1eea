"""What all seeds of a simulation share: the flow, its records, and how the flow may be treated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen

from flowdsl.operators.branching import all_close
from flowdsl.operators.produce import ProduceTo
from flowdsl.operators.source import BrokerSource, leaves
from flowdsl.operators.take import Take
from flowdsl.operators.values import ValuesSource
from flowdsl.plan.names import named
from flowdsl.plan.nodes import Operator, Plan
from flowdsl.plan.policy import Stop
from flowdsl.types import Record


@frozen
class Scene:
    """``may_fail``: sinks whose failing ends a run; ``refuses``: whether records that are produced may be refused.

    ``patience``: the longest time for which the flow holds something back, in seconds.
    """

    plan: Plan
    topics: tuple[str, ...]
    records: Sequence[Record[Any]]
    members: int
    may_fail: frozenset[str] = frozenset()
    refuses: bool = False
    patience: float = 0.0

    @property
    def layout(self) -> dict[str, int]:
        """The topics, with as many partitions as the records need."""
        partitions = dict.fromkeys(self.topics, 1)
        for record in self.records:
            partitions[record.topic] = max(partitions[record.topic], record.partition + 1)
        return partitions

    @property
    def endless(self) -> Scene:
        """The flow without what ends a run by itself: what its lives, one after the other, bring about."""
        steps = tuple(step for step in self.plan.steps if not isinstance(step, Take))
        return evolve(self, plan=evolve(self.plan, steps=steps))


def scene_of(plan: Plan, records: Sequence[Any], members: int) -> Scene:
    """Raises ValueError for records that cannot be told apart."""
    topics = _topics(plan, records)
    in_memory = len([each for each in leaves(plan.source) if isinstance(each, ValuesSource)])
    made = [
        _record(value, topics[index % len(topics)], index, index % max(1, in_memory))
        for index, value in enumerate(records)
    ]
    _refuse_alike(made)
    steps = [(step.name, step.operator) for step in named(plan).all_steps()]
    ending = [(name, operator) for name, operator in steps if operator.closes]
    return Scene(
        plan,
        tuple(dict.fromkeys(record.topic for record in made)),
        made,
        members,
        frozenset(name for name, operator in ending if _stops(operator)),
        all(_stops(operator) for operator in _producing(ending)),
        max((_within(step.operator) for step in named(plan).all_steps()), default=0.0),
    )


def _producing(ending: Sequence[tuple[str, Operator]]) -> list[Operator]:
    return [operator for _, operator in ending if issubclass(type(operator), ProduceTo)]


def _within(operator: Operator) -> float:
    seconds: float | None = getattr(operator, "within", None)
    return seconds or 0.0


def keeps_order(plan: Plan) -> bool:
    """Whether values stay in order: not where open branches or several flows go on as one."""
    branching = [step.operator for step in named(plan).all_steps() if step.branches]
    return is_single(plan) and all(all_close(operator.branches) for operator in branching)


def is_single(plan: Plan) -> bool:
    return len(leaves(plan.source)) == 1


def _stops(operator: Operator) -> bool:
    return isinstance(operator.on_error or Stop(), Stop)


def _topics(plan: Plan, records: Sequence[Any]) -> tuple[str, ...]:
    """Those that the flow reads, and those that records name; values in memory have none."""
    names: list[str] = []
    for each in leaves(plan.source):
        if isinstance(each, BrokerSource) and isinstance(each.topics, tuple):
            names += each.topics
    names += sorted({record.topic for record in records if isinstance(record, Record)})
    return tuple(dict.fromkeys(names)) or ("",)


def _record(value: Any, topic: str, index: int, partition: int) -> Record[Any]:
    if isinstance(value, Record):
        return value  # pyright: ignore[reportUnknownVariableType]  # a user's own
    return Record(topic, partition, index, None, value)


def _refuse_alike(records: Sequence[Record[Any]]) -> None:
    if not records:
        msg = "records must not be empty"
        raise ValueError(msg)
    seen: set[str] = set()
    for record in records:
        told = repr((record.topic, record.key, record.value, record.headers))
        if told in seen:
            msg = f"records must be unlike each other, so that their outputs can be told apart, but there are two of {record.value!r}"
            raise ValueError(msg)
        seen.add(told)
