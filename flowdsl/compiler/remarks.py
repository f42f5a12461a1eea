"""What people want to know of a step beside its call: what it holds, when its values are done, how it fails.

Tables by the type of the node. A type that is in none of them holds nothing and follows the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from re import Pattern
from typing import Any

from flowdsl.brokers.protocols import Last
from flowdsl.operators.batch import Batch
from flowdsl.operators.broadcast import Broadcast
from flowdsl.operators.distinct import Distinct
from flowdsl.operators.fold import Fold
from flowdsl.operators.produce import ProduceTo
from flowdsl.operators.route import Route
from flowdsl.operators.scan import Scan
from flowdsl.operators.sink import Sink
from flowdsl.operators.source import BrokerSource
from flowdsl.operators.take import Take
from flowdsl.operators.through import Through
from flowdsl.operators.to_list import ToList
from flowdsl.operators.values import IterableSource, ObservableSource
from flowdsl.operators.with_record import WithRecord
from flowdsl.plan.concurrency import Concurrency
from flowdsl.plan.nodes import Node, Operator, Source
from flowdsl.plan.policy import DeadLetter, ErrorPolicy, Retry, Skip
from flowdsl.stages.ledger import MOST_APART
from flowdsl.stages.producing import MOST_UNDER_WAY

RETRY = "retry, "
BY_DEFAULT = "stop (default)"
"""What happens to a record that fails where neither the step nor the run says anything."""

UNFAILING: tuple[type[Node], ...] = (Batch, Broadcast, Take, ToList, WithRecord)


def on_error(node: Node) -> str:
    """What happens to a record that fails in this step, in a word."""
    if isinstance(node, UNFAILING):
        return "cannot fail"
    policy = node.on_error if isinstance(node, Operator) else None
    if policy is None:
        return BY_DEFAULT
    if isinstance(policy, Retry):
        return RETRY + _last(policy.then).removeprefix("dead ")
    return _last(policy)


def _last(policy: ErrorPolicy) -> str:
    if isinstance(policy, DeadLetter):
        return "dead letters"
    return "skip" if isinstance(policy, Skip) else "stop"


def of_source(source: Source) -> Iterator[str]:
    """What is read, and from where."""
    if isinstance(source, BrokerSource):
        yield f"reads {_topics(source)} from {source.client.name}"
        if source.group_id is None:
            yield f"without a group: all partitions, from {_start(source)}; nothing is committed"
        else:
            yield f"as a member of group {source.group_id}; where that has no offset, from {_start(source)}"
        yield TOMBSTONES[source.tombstones]
        if source.on_gap == "earliest":
            yield "records that are gone before they were read are passed over, and logged"
    elif isinstance(source, IterableSource):
        again = ", once: an iterator cannot be read again" if isinstance(source.values, Iterator) else ""
        yield f"reads values in memory{again}; there are no offsets to commit"
    elif isinstance(source, ObservableSource):
        yield "reads what an observable emits, which is subscribed for the run; there are no offsets to commit"
        yield f"{source.capacity:,} values may wait; {OVERFLOW[source.overflow]}"


OVERFLOW = {
    "block": "one more is held up where it is emitted",
    "error": "one more ends the run",
    "drop_new": "what comes then is dropped",
    "drop_old": "the oldest is dropped then",
}

TOMBSTONES = {
    "fail": "a null value (a tombstone) is a failing record",
    "skip": "null values (tombstones) are filtered",
    "keep": "null values (tombstones) go on as None",
}


def _topics(source: BrokerSource) -> str:
    if isinstance(source.topics, Pattern):
        return f"all topics that match {source.topics.pattern}"
    return f"topic{'s' if len(source.topics) > 1 else ''} {', '.join(source.topics)}"


def _start(source: BrokerSource) -> str:
    start = source.start
    if isinstance(start, Last):
        return f"the last {start.n:,} records of each partition"
    return {"earliest": "the earliest record", "latest": "what comes next"}.get(str(start), f"{start}")


def remarks(node: Node) -> Iterator[str]:
    """What is to be said of a step besides its call."""
    tell = REMARKS.get(type(node))
    if tell is not None:
        yield tell(node)
    slow = concurrency(node)
    if slow is not None:
        yield f"runs {slow.workers.told(slow.n)}; {_order(slow)}"
        if slow.timeout is not None:
            yield f"a value that takes longer than {slow.timeout:g} s is a failing record"
    policy = node.on_error if isinstance(node, Operator) else None
    if isinstance(policy, Retry):
        yield f"tried up to {policy.attempts} times, {_waits(policy)}; what comes later in its partition waits"
    held = holds(node)
    if held is not None:
        yield held


def holds(node: Node) -> str | None:
    """What waits inside this step, and with it its offsets; None where nothing does."""
    slow = concurrency(node)
    if slow is not None:
        return f"{slow.n:,} at once, and what waits for its turn: not more than {MOST_APART:,} from the oldest to the newest"
    tell = HOLDS.get(type(node))
    return None if tell is None else tell(node)


def concurrency(node: Node) -> Concurrency | None:
    """How a step works on several values at once; None for one that does not."""
    slow: Concurrency | None = getattr(node, "slow", None)
    return slow


def _order(slow: Concurrency) -> str:
    if slow.key is not None:
        return "the values of a key one at a time and in order, others pass them"
    return "results leave in the order of the values" if slow.ordered else "results leave as they are ready"


def _waits(policy: Retry) -> str:
    longest = policy.longest
    return f"the first wait {policy.first:g} s, all together at most {longest:g} s"


def _group(node: Any) -> str:
    time = "for as long as that takes" if node.within is None else f"at most {node.within:g} s"
    what = "values" if isinstance(node, Batch) else "values, reduced to one state,"
    return f"holds up to {node.size:,} {what} until the group is full, {time}"


def _sink(node: Any) -> str:
    if not node.writes:
        return "a value is done when the function has returned"
    if callable(getattr(node.target, "flush", None)):
        return "write() gets what has arrived; it is done after flush()"
    return "write() gets what has arrived; it is done when that has returned"


def _state(node: Any) -> str:
    what = "one state for the whole flow" if node.per == "flow" else "a state for each partition"
    return f"{what}, in memory; new where a partition is read again"


def _through(node: Any) -> str:
    commits = "It commits by itself" if node.ends else "Offsets follow what it hands on"
    return f"written by hand. {commits}; its policy is asked about InvalidMessage, any other exception ends the run"


REMARKS: dict[type[Node], Callable[[Any], str]] = {
    Broadcast: lambda _: "each value goes to all branches, and is done when all are",
    Distinct: _state,
    Route: lambda node: (
        "each value goes to one branch; "
        + ("any other key to default" if node.takes_all else "a key without a branch fails")
    ),
    Scan: _state,
    Sink: _sink,
    Take: lambda node: f"ends the run after {node.n:,} value{'s' if node.n > 1 else ''}",
    Through: _through,
    ToList: lambda _: "keeps every value in memory, without limit",
}

HOLDS: dict[type[Node], Callable[[Any], str | None]] = {
    Batch: _group,
    Broadcast: lambda _: "one chunk waits for the slowest branch",
    Fold: _group,
    ProduceTo: lambda _: f"up to {MOST_UNDER_WAY:,} records wait for the broker to acknowledge them",
    Route: lambda _: "one chunk waits for the slowest branch",
    Sink: lambda node: (
        "what was written waits for flush(), at most 1 s"
        if node.writes and callable(getattr(node.target, "flush", None))
        else None
    ),
    Through: lambda _: "whatever the strategy holds",
}
