"""``flow.preview(n)``: what the first records become, step by step. No group, no commit, no sink."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from flowdsl import compiler
from flowdsl.compiler.probing import Column, Place, Watch, probed
from flowdsl.display.table import Cell, Table
from flowdsl.errors import StepFailed, told
from flowdsl.flow.execution import Execution, Options
from flowdsl.interface import arguments
from flowdsl.operators.source import BrokerSource, leaves
from flowdsl.operators.values import ValuesSource
from flowdsl.plan.names import named
from flowdsl.plan.nodes import Plan, Upstream
from flowdsl.types import NEVER, Partition, Record, Topic

DROPPED, GROUPED = "-", "..."
LEGEND = {
    DROPPED: f"{DROPPED} nothing came out of the step",
    GROUPED: f"{GROUPED} in a group, which is shown at its last record",
}


class Preview(Struct, frozen=True):
    """Records and what came out of each step, as text; shows itself as a table.

    ``columns``: what a row is, the source, then every step; ``rows`` has a text for each of them.
    """

    table: Table

    @property
    def columns(self) -> tuple[str, ...]:
        return self.table.columns

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(cell.text for cell in row) for row in self.table.rows)

    def __len__(self) -> int:
        return len(self.table.rows)

    def __repr__(self) -> str:
        return self.table.text()

    def _repr_html_(self) -> str:
        return self.table.html()


def preview(flow: Upstream, n: int = 10) -> Preview:
    """Read ``n`` records, run the steps, and show what came out of each."""
    most = arguments.count(n, "n")
    plan = flow.plan
    compiler.check(plan)
    _refuse_iterators(plan)
    watch = Watch()
    probes, policy = probed(named(plan), watch, most)
    in_memory = isinstance(leaves(plan.source)[0], ValuesSource)
    options = Options(count=most, until=None if in_memory else "end", commit=NEVER, on_error=policy)
    try:
        Execution(probes, options).run()
    except StepFailed as failed:  # a hand-written strategy, which no policy covers
        _note(watch, failed)
    return Preview(_table(plan, watch))


def _refuse_iterators(plan: Plan) -> None:
    for source in leaves(plan.source):
        if isinstance(source, ValuesSource) and source.is_used_up:
            text = "a preview would use up its iterator, whose values can be read once: give a list, or a function that returns an iterator"
            raise source.fault(text)


def _note(watch: Watch, failed: StepFailed) -> None:
    """Show a failure that ended the preview at its record."""
    topics = (Topic(failed.topic), failed.partition)
    error = failed.__cause__
    text = failed.reason if error is None else f"{type(error).__name__}: {told(error)}"
    watch.failed[(Partition(*topics), failed.offset), failed.step] = text


# -- the table --------------------------------------------------------------------------------------------------------


def _table(plan: Plan, watch: Watch) -> Table:
    rows = tuple(
        (_label(record), *(_cell(watch, place, column) for column in watch.columns))
        for place, record in watch.records.items()
    )
    texts = {cell.text for row in rows for cell in row}
    failures = tuple(
        f"! {_label(watch.records[place]).text}, {step}: {text}"
        for (place, step), text in watch.failed.items()
        if place in watch.records
    )
    count = len(rows)
    title = f"{count} record{'' if count == 1 else 's'}; nothing was committed, and no sink was called"
    if not rows:
        title = f"no records: there is nothing to read in {_places(plan)} now"
    return Table(
        title,
        ("record", *(column.name for column in watch.columns)),
        rows,
        (*(LEGEND[mark] for mark in LEGEND if mark in texts), *failures),
    )


def _places(plan: Plan) -> str:
    topics: list[Any] = [source.topics for source in leaves(plan.source) if isinstance(source, BrokerSource)]
    return ", ".join(str(getattr(each, "pattern", None) or ", ".join(each)) for each in topics) or "the values"


def _label(record: Record[Any]) -> Cell:
    place = f"{record.topic}[{record.partition}] {record.offset}" if record.topic else str(record.offset)
    return Cell(place, "label")


def _cell(watch: Watch, place: Place, column: Column) -> Cell:
    failure = watch.failed.get((place, column.name))
    if failure is not None:
        return Cell(failure, "error")
    if column.branches:
        chosen = [label for label, probe in column.branches if place in watch.passed[probe]]
        return Cell(f"to {', '.join(chosen)}" if chosen else "", "quiet")
    values = watch.passed[column.after].get(place)
    if values is not None:
        return Cell(", ".join(values))
    if place not in watch.passed[column.before]:
        return Cell("", "quiet")
    return Cell(GROUPED if place in watch.grouped[column.after] else DROPPED, "quiet")
