"""What all seeds of a simulation share: the flow, its records, and how the flow may be treated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from flowdsl.operators.distinct import Distinct
from flowdsl.operators.produce import ProduceTo
from flowdsl.operators.source import BrokerSource, leaves
from flowdsl.operators.take import Take
from flowdsl.operators.through import Through
from flowdsl.plan.concurrency import Concurrency
from flowdsl.plan.names import NamedPlan, named
from flowdsl.plan.nodes import Operator, Plan
from flowdsl.plan.policy import STOP, ErrorPolicy, Retry
from flowdsl.testing.addresses import Addresses
from flowdsl.types import Record

SLOWEST = 10.0
"""Seconds that a call may take which runs elsewhere."""


class Scene(Struct, frozen=True):
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
    has_foreign: bool = False
    """Whether strategies written by hand are in it, which promise little: a join may leave things undone."""
    lets_go: bool = True
    """Whether whatever the flow holds back leaves it after a while."""
    may_fail_slowly: frozenset[str] = frozenset()
    """Steps before the end whose function runs elsewhere, and ends a run when it fails."""
    retried: float = 0.0
    """For how many seconds a record that always fails may be tried again before the flow goes on without it."""

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
        return replace(self, plan=replace(self.plan, steps=steps))

    @property
    def has_memory(self) -> bool:
        """Whether what a value brings about depends on the one before."""
        return any(isinstance(step.operator, Distinct) for step in named(self.plan).all_steps())

    @property
    def delivers_alone(self) -> bool:
        """Whether a record is done once the sinks have it: no branch can fail beside it, and no group is done with it."""
        steps = list(named(self.plan).all_steps())
        splits = any(step.operator.splits for step in steps)
        grouped = any(step.operator.groups for step in steps)
        is_one_way = is_single(self.plan) and not any(
            step.branches or step.dead_letters or _waits(step.operator) for step in steps
        )
        return is_one_way and not (self.has_foreign or (grouped and splits))

    def failing_groups(self, policy: type[ErrorPolicy]) -> list[str]:
        """The steps where several records fail together and that policy applies."""
        return _failing_groups(named(self.plan), policy, grouped=False)

    def dead_letters(self) -> list[tuple[Scene, Mapping[str, str]]]:
        """Each place that has dead letters, as a flow of its own, and what its sinks are called in this one."""
        found: list[tuple[Scene, Mapping[str, str]]] = []
        for step in named(self.plan).all_steps():
            policy = step.operator.on_error
            letters = None if policy is None else policy.letters
            if step.dead_letters is not None and letters is not None:
                plan = replace(self.plan, steps=letters.plan.steps)
                found.append(
                    (replace(self, plan=plan), dict(zip(_sinks(named(plan)), _sinks(step.dead_letters), strict=True)))
                )
        return found


def _sinks(plan: NamedPlan) -> list[str]:
    return [step.name for step in plan.all_steps() if step.operator.closes]


def _failing_groups(plan: NamedPlan, policy: type[ErrorPolicy], *, grouped: bool) -> list[str]:
    found = [name for each in plan.merged for name in _failing_groups(each, policy, grouped=grouped)]
    grouped = grouped or plan.source.groups
    for step in plan.steps:
        if grouped and isinstance(step.operator.on_error, policy):
            found.append(step.name)
        found += [name for each in step.branches for name in _failing_groups(each, policy, grouped=grouped)]
        grouped = grouped or step.operator.groups
    return found


def scene_of(plan: Plan, records: Sequence[Any], members: int) -> Scene:
    """Raises ValueError for records that cannot be told apart."""
    made = _records(plan, records)
    _refuse_alike(made)
    steps = [(step.name, step.operator) for step in named(plan).all_steps()]
    ending = [(name, operator) for name, operator in steps if operator.closes]
    return Scene(
        plan,
        tuple(dict.fromkeys((*_topics(plan), *(record.topic for record in made)))),
        made,
        members,
        frozenset(name for name, operator in ending if _stops(operator)),
        all(_stops(operator) for operator in _producing(ending)),
        max((_within(operator) for _, operator in steps), default=0.0),
        any(isinstance(operator, Through) for _, operator in steps),
        not any(_holds_for_good(operator) for _, operator in steps),
        frozenset(name for name, operator in steps if not operator.closes and _stops(operator)),
        sum(_retried(operator) for _, operator in steps if not _stops(operator)),
    )


def _producing(ending: Sequence[tuple[str, Operator]]) -> list[Operator]:
    return [operator for _, operator in ending if issubclass(type(operator), ProduceTo)]


def _within(operator: Operator) -> float:
    """The longest time for which a step holds a value back."""
    seconds: float | None = getattr(operator, "within", None)
    slow: Concurrency | None = getattr(operator, "slow", None)
    return (seconds or 0.0) + _retried(operator) + (0.0 if slow is None else SLOWEST)


def _waits(operator: Operator) -> bool:
    """Whether other records may be done while one is under way."""
    return getattr(operator, "slow", None) is not None or isinstance(operator.on_error, Retry)


def _retried(operator: Operator) -> float:
    return operator.on_error.longest if isinstance(operator.on_error, Retry) else 0.0


def _holds_for_good(operator: Operator) -> bool:
    return isinstance(operator, Through) or (operator.holds and getattr(operator, "within", None) is None)


def keeps_order(plan: Plan) -> bool:
    """Whether values stay in order: not where open branches or several flows go on as one, or work passes other work."""
    steps = list(named(plan).all_steps())
    branching = [step.operator for step in steps if step.branches]
    if any(_passes(step.operator) for step in steps):
        return False
    return is_single(plan) and all(operator.closes for operator in branching)


def _passes(operator: Operator) -> bool:
    """Whether values may pass each other here: a sink is called with several at once, a record is produced again."""
    if issubclass(type(operator), ProduceTo) and isinstance(operator.on_error, Retry):
        return True
    slow: Concurrency | None = getattr(operator, "slow", None)
    return slow is not None and (not slow.ordered or slow.key is not None or (operator.closes and slow.n > 1))


def is_single(plan: Plan) -> bool:
    return len(leaves(plan.source)) == 1


def _stops(operator: Operator) -> bool:
    return (operator.on_error or STOP).stops


def _records(plan: Plan, given: Sequence[Any]) -> list[Record[Any]]:
    """The records with their places. Values go to the topics of the flow in turn, or to its sources in memory."""
    addresses = Addresses(plan.source)
    names = _topics(plan)
    in_memory = len(leaves(plan.source)) if addresses.in_memory else 1
    made: list[Record[Any]] = []
    for index, value in enumerate(given):
        record: Record[Any] = value if isinstance(value, Record) else Record("", index % in_memory, index, None, value)  # pyright: ignore[reportUnknownVariableType]  # a user's own
        topic = record.topic if isinstance(value, Record) else names[index % len(names)] if names else None
        place = addresses.partition(record.partition, topic)
        made.append(replace(record, topic=place.topic.name, partition=place.index, value=addresses.raw(record.value)))
    return made


def _topics(plan: Plan) -> tuple[str, ...]:
    """Those that the flow names; one that reads a pattern has none, and values in memory have one without a name."""
    brokers = [each.topics for each in leaves(plan.source) if isinstance(each, BrokerSource)]
    names = [name for topics in brokers if isinstance(topics, tuple) for name in topics]
    return tuple(dict.fromkeys(names)) if brokers else ("",)


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
