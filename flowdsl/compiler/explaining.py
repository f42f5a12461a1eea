"""The plan, told to people who have never seen the code, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowdsl.brokers.memory import LARGEST_READ as IN_MEMORY
from flowdsl.brokers.protocols import LARGEST_READ as OF_BROKERS
from flowdsl.compiler.layout import filled, terms
from flowdsl.compiler.outline import Outline, Place, outline
from flowdsl.compiler.remarks import BY_DEFAULT, RETRY, holds, of_source, on_error
from flowdsl.compiler.tree import steps
from flowdsl.compiler.validate import faults, warnings
from flowdsl.errors import Problem
from flowdsl.operators.source import BrokerSource
from flowdsl.plan.names import NamedPlan, named
from flowdsl.plan.nodes import Plan
from flowdsl.processing.pace import READ_BYTES

POLICIES = {
    "stop": "the run ends with StepFailed. What is complete before the record is committed; the record itself is not, and will be read again.",
    "skip": "the record is counted and logged, and its offset moves on; of a failed group all of it.",
    "dead letters": "the original record, of a failed group every one, goes the way of the dead letters; its offset moves on once the sink there has it.",
}

RETRIED = (
    "Where retry stands, the record is set aside and tried again, without holding up other partitions; what stands "
    "behind it happens after the last attempt."
)


def explain(plan: Plan) -> str:
    """How a plan runs. Opens, starts and calls nothing."""
    whole = named(plan)
    told = outline(whole)
    sections = [
        ("SOURCE", _sources(whole)),
        ("STEPS", steps(told, closed=plan.closed)),
        ("QUEUES", _queues(whole, told)),
        ("OFFSETS", _offsets(whole, told)),
        ("WHEN A STEP FAILS", _failures(told)),
        ("FAULTS, which keep this flow from running", _problems(faults(whole))),
        ("WARNINGS", _problems(warnings(whole))),
    ]
    blocks = ((title, list(lines)) for title, lines in sections)
    return "\n\n".join("\n".join([title, *lines]) for title, lines in blocks if lines)


# -- parts of the text ------------------------------------------------------------------------------------------------


def _sources(whole: NamedPlan) -> Iterator[str]:
    told = [(plan.name, list(of_source(plan.source))) for plan in whole.all_sources()]
    yield from terms((name if at == 0 else "", text) for name, texts in told for at, text in enumerate(texts))


def _queues(whole: NamedPlan, told: Outline) -> Iterator[str]:
    is_broker = any(isinstance(plan.source, BrokerSource) for plan in whole.all_sources())
    most = OF_BROKERS if is_broker else IN_MEMORY
    read = f"up to {most:,} records, or about {READ_BYTES >> 20} MiB. Nothing more is read while they wait"
    chunk = f"up to {most:,} records at once, as a chunk, through the steps of a stage"
    between = "what came of one chunk. A stage that cannot hand it on takes nothing more"
    general = [("from the source", read), ("into a stage", chunk), ("between stages", between)]
    yield from terms([*general, *((place.name, held) for place, held in _holders(told))])


def _holders(told: Outline) -> Iterator[tuple[Place, str]]:
    for place in told.all_places():
        held = holds(place.node) if place.ends else None
        if held is not None:
            yield place, held


def _offsets(whole: NamedPlan, told: Outline) -> Iterator[str]:
    sources = [plan.source for plan in whole.all_sources()]
    if not any(isinstance(source, BrokerSource) and source.group_id is not None for source in sources):
        why = "the source has no group" if isinstance(sources[0], BrokerSource) else "values in memory have no offsets"
        yield from filled(f"Nothing is committed: {why}.")
        return
    text = (
        "The offset of a record may be committed once everything made of it, and of all records before it in its "
        "partition, is done: filtered, taken by a sink, or failed and dealt with."
    )
    yield from filled(text)
    holders = ", ".join(dict.fromkeys(place.name for place, _ in _holders(told)))
    if holders:
        yield from filled(f"Held back with what waits in: {holders}.")
    text = (
        "Committed once a second, unless run(commit=...) says otherwise; and at the end of the run, and before "
        "partitions are given away."
    )
    yield from filled(text)


def _failures(told: Outline) -> Iterator[str]:
    used = {on_error(place.node) for place in told.all_places()}
    if BY_DEFAULT in used:
        yield from filled("Where (default) stands, run(on_error=...) can choose something else.")
    if any(kind.startswith(RETRY) for kind in used):
        yield from filled(RETRIED)
        used |= {kind.removeprefix(RETRY).replace("letters", "dead letters") for kind in used}
    kinds = [kind for kind in POLICIES if kind in used or (kind == "stop" and BY_DEFAULT in used)]
    yield from terms((kind, POLICIES[kind]) for kind in kinds)


def _problems(problems: Iterable[Problem]) -> Iterator[str]:
    for problem in problems:
        yield from filled(str(problem))
