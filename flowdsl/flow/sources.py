"""Flows that begin without a broker: values in memory, and several flows as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, overload

from reactivex.abc import ObservableBase

from flowdsl.brokers.protocols import Last
from flowdsl.errors import shown
from flowdsl.flow.flow import ClosedFlow, Described, Flow
from flowdsl.interface.arguments import count
from flowdsl.operators.checks import choice
from flowdsl.operators.source import BrokerSource, MergedSource, all_topics, leaves
from flowdsl.operators.values import (
    IterableSource,
    ObservableSource,
    ValuesSource,
    iterable_or_function,
    observable_of_rxpy,
)
from flowdsl.plan.hints import T, U, V
from flowdsl.plan.nodes import Plan, Source
from flowdsl.plan.where import here
from flowdsl.reactive.inbox import Overflow

ALIKE = ("client", "group_id", "start", "on_gap", "settings")
"""What the sources of a merge share, because one consumer reads them all."""


def from_iterable(values: Iterable[T] | Callable[[], Iterable[T]], *, name: str | None = None) -> Flow[T]:
    """A flow of values in memory: an iterable, or a function without arguments that returns one.

    Its records have no topic, and their offset is the index. An iterator can be run once; the second run raises
    FlowDefinitionError. What it raises ends the run, as it is, behind the values before it.

    >>> from flowdsl import from_iterable, to_list
    >>> (from_iterable(lambda: range(3)) | to_list()).run()
    [0, 1, 2]
    """
    if isinstance(values, Described):
        msg = "values must be an iterable, not a flow, which can be used as it is"
        raise TypeError(msg)
    return Flow(Plan(IterableSource(values=iterable_or_function(values), name=name, where=here())))


def from_observable(
    observable: ObservableBase[T], *, capacity: int = 1000, overflow: Overflow = "block", name: str | None = None
) -> Flow[T]:
    """A flow of what an Observable of RxPY emits; it is subscribed when the flow runs, anew for each run.

    At most ``capacity`` values wait for the flow. One more is held up where it is emitted (``overflow="block"``), ends the
    run with a FlowError behind the values before it ("error"), or is dropped: it ("drop_new"), or the oldest one that waits
    ("drop_old"); how many were dropped is logged. The run ends when the Observable completes, and raises what it
    ended with otherwise. Stopping unsubscribes. The subscription is made on a thread of its own, so that
    an Observable that emits inside ``subscribe`` is held up there. Records have no topic, and their offset is the index; nothing can be
    read again after a crash.

    >>> import reactivex
    >>> from flowdsl import from_observable, map_, to_list
    >>> (from_observable(reactivex.of(1, 2, 3)) | map_(lambda n: n * n) | to_list()).run()
    [1, 4, 9]
    """
    source = ObservableSource(
        observable=observable_of_rxpy(observable),
        capacity=count(capacity, "capacity"),
        overflow=choice(overflow, "overflow", ("block", "error", "drop_new", "drop_old")),
        name=name,
        where=here(),
    )
    return Flow(Plan(source))


def last(n: int) -> Last:
    """For ``start=``: begin ``n`` records before the end of each partition, where a group has no offset yet.

    >>> from flowdsl import LocalBroker, last, to_list
    >>> broker = LocalBroker()
    >>> broker.write("greetings", ["hello", "world"])
    2
    >>> (broker.source("greetings", start=last(1)) | to_list()).run(until="end")
    [b'world']
    """
    return Last(count(n, "n"))


@overload
def merge(a: Flow[T], b: Flow[U], /, *, name: str | None = ...) -> Flow[T | U]: ...
@overload
def merge(a: Flow[T], b: Flow[U], c: Flow[V], /, *, name: str | None = ...) -> Flow[T | U | V]: ...
@overload
def merge(*flows: Flow[T], name: str | None = ...) -> Flow[T]: ...
def merge(*flows: Flow[Any], name: str | None = None) -> Flow[Any]:
    """Make one flow of several, each with a source and steps of its own.

    The sources belong to one broker and one group, or to none, or all are ``from_iterable`` or ``from_observable``. A topic
    of several flows is read once, and each of its records goes through all of them; its offset moves when all are done.
    Raises FlowDefinitionError naming what differs.

    >>> from flowdsl import from_iterable, map_, merge, to_list
    >>> sorted((merge(from_iterable([1]), from_iterable([2]) | map_(lambda n: n * 10)) | to_list()).run())
    [1, 20]
    """
    if not flows:
        msg = "flows must not be empty: merge(a, b) needs at least one flow"
        raise ValueError(msg)
    source = MergedSource(plans=tuple(_open_plan(flow) for flow in flows), name=name, where=here())
    inner = leaves(source)
    for one, other in pairwise(inner):
        _refuse_difference(one, other, source)
    _refuse_patterns(inner, source)
    return Flow(Plan(source))


def _open_plan(flow: object) -> Plan:
    if isinstance(flow, ClosedFlow):
        text = "a flow that ends in a sink cannot be merged: merge the flows first, and put the sink behind"
        raise flow.plan.steps[-1].fault(text)
    if not isinstance(flow, Flow):
        what = shown(flow)
        hint = ": give them one by one, merge(a, b)" if isinstance(flow, list | tuple) else ""
        msg = f"flows must be flows with a source, not {what}{hint}"
        raise TypeError(msg)
    return flow.plan


def _refuse_difference(one: Source, other: Source, merged: MergedSource) -> None:
    for each in (one, other):
        if not isinstance(each, BrokerSource | ValuesSource):
            text = "merge takes flows with sources of their own; inside a branch use broadcast, whose branches go on as one"
            raise merged.fault(text)
    if isinstance(one, BrokerSource) and isinstance(other, BrokerSource):
        for name in ALIKE:
            mine, theirs = getattr(one, name), getattr(other, name)
            if mine != theirs:
                what, told = "broker" if name == "client" else name, (_told(mine), _told(theirs))
                which = f"{told[0]} and another one like it" if told[0] == told[1] else " and ".join(told)
                text = f"the flows of a merge are read by one consumer, but their {what} differs: {which}"
                raise merged.fault(text)
    elif isinstance(one, BrokerSource) or isinstance(other, BrokerSource):
        text = "the flows of a merge come either all from a broker or all from from_iterable and from_observable"
        raise merged.fault(text)


def _refuse_patterns(inner: list[Source], merged: MergedSource) -> None:
    try:
        all_topics([each for each in inner if isinstance(each, BrokerSource)])
    except re.error as error:
        text = f"the patterns of the flows are matched as one, but do not go together: {error}"
        raise merged.fault(text) from error


def _told(value: Any) -> str:
    return str(getattr(value, "name", None) or shown(value))
