"""What ``explain`` tells: whole texts, written out, and the rules that hold for every flow."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Never

import pytest

from flowdsl import (
    JSON,
    Flow,
    LocalBroker,
    batch,
    broadcast,
    dead_letter,
    decode,
    filter_,
    fold,
    from_iterable,
    map_,
    merge,
    route,
    scan,
    sink,
    take,
    through,
    to_list,
    unbatch,
)
from flowdsl.compiler import new_run, prepare
from flowdsl.compiler.outline import Stage, Way, outline
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.plan.names import named


def parse(value: Any) -> Any:
    return value


def valid(value: Any) -> bool:
    return bool(value)


def country(value: Any) -> Any:
    return value


def insert_rows(rows: object) -> None:
    """A sink."""


def refused(*_: object) -> Never:
    raise AssertionError("explain opens and calls nothing")


class Table:
    """A sink that must not be touched."""

    open = write = flush = close = refused


class Middle:
    """A factory that must not be asked."""

    def create_with_partitions(self, commit: object, partitions: object, downstream: Any) -> Any:
        refused(commit, partitions, downstream)


def service(broker: LocalBroker) -> Any:
    return (
        broker.source("orders", group_id="billing")
        | map_(parse)
        | filter_(lambda order: order["paid"])
        | batch(500, within=1.0)
        | sink(insert_rows)
    )


def branches(broker: LocalBroker) -> Any:
    german = map_(parse) | broker.sink("german", encode=JSON)
    return (
        broker.source(["web", "app"], group_id="g", decode=JSON, tombstones="skip")
        | map_(parse, on_error=dead_letter(map_(str) | broker.sink("dead")))
        | filter_(valid, on_error="skip")
        | route(country, {"DE": german}, default=sink(print))
    )


def open_flow(broker: LocalBroker) -> Any:
    flow: Any = from_iterable(range(3))
    lists: Any = batch(2) | unbatch()
    return flow | broadcast(map_(str), lists) | scan(lambda t, n: t, 0)


# -- whole texts ------------------------------------------------------------------------------------------------------

SERVICE = """\
SOURCE
  source  reads topic orders from the embedded broker
          as a member of group billing; where that has no offset, from the
          earliest record
          a null value (a tombstone) is a failing record

STEPS
  Steps of one stage are fused: nothing waits between them. Before the first
  stage, Intake numbers the records; behind the last, Completion notes that they
  are done. On the right: what happens to a record that fails.
  stage 1, Segment: 4 steps fused
    source       source('orders', group_id='billing')            stop (default)
    parse        map_(parse)                                     stop (default)
    filter_      filter_(lambda)                                 stop (default)
    batch        batch(500, within=1.0)                          cannot fail
                 - holds up to 500 values until the group is full, at most 1 s
  stage 2, Segment
    insert_rows  sink(insert_rows)                               stop (default)
                 - a value is done when the function has returned

QUEUES
  from the source  up to 8,000 records, or about 4 MiB. Nothing more is read
                   while they wait
  into a stage     up to 8,000 records at once, as a chunk, through the steps of
                   a stage
  between stages   what came of one chunk. A stage that cannot hand it on takes
                   nothing more
  batch            holds up to 500 values until the group is full, at most 1 s

OFFSETS
  The offset of a record may be committed once everything made of it, and of all
  records before it in its partition, is done: filtered, taken by a sink, or
  failed and dealt with.
  Held back with what waits in: batch.
  Committed once a second, unless run(commit=...) says otherwise; and at the end
  of the run, and before partitions are given away.

WHEN A STEP FAILS
  Where (default) stands, run(on_error=...) can choose something else.
  stop  the run ends with StepFailed. What is complete before the record is
        committed; the record itself is not, and will be read again.
"""

BRANCHES = """\
SOURCE
  source  reads topics web, app from the embedded broker
          as a member of group g; where that has no offset, from the earliest
          record
          null values (tombstones) are filtered

STEPS
  Steps of one stage are fused: nothing waits between them. Before the first
  stage, Intake numbers the records; behind the last, Completion notes that they
  are done. On the right: what happens to a record that fails.
  stage 1, Segment: 4 steps fused
    source   source(('web', 'app'), group_id='g', decode=JSON,   stop (default)
             tombstones='skip')
    parse    map_(parse)                                         dead letters
    valid    filter_(valid)                                      skip
    country  route(country)                                      stop (default)
             - goes on in stage 2
  stage 2, Splitter
    country  each value goes to one branch; any other key to default
             - one chunk waits for the slowest branch
      branch 'DE':
        stage 3, Segment: 2 steps fused
          parse#2  map_(parse)                                   stop (default)
          sink#2   sink('german', encode=JSON)                   stop (default)
                   - goes on in stage 4
        stage 4, ProduceStage
          sink#2   up to 10,000 records wait for the broker to acknowledge them
      branch default:
        stage 5, Segment
          print    sink(print)                                   stop (default)
                   - a value is done when the function has returned
  dead letters of parse, in a pipeline of their own:
    stage 6, Segment: 2 steps fused
      str      map_(str)                                         stop
      sink     sink('dead')                                      stop
               - goes on in stage 7
    stage 7, ProduceStage
      sink     up to 10,000 records wait for the broker to acknowledge them

QUEUES
  from the source  up to 8,000 records, or about 4 MiB. Nothing more is read
                   while they wait
  into a stage     up to 8,000 records at once, as a chunk, through the steps of
                   a stage
  between stages   what came of one chunk. A stage that cannot hand it on takes
                   nothing more
  country          one chunk waits for the slowest branch
  sink#2           up to 10,000 records wait for the broker to acknowledge them
  sink             up to 10,000 records wait for the broker to acknowledge them

OFFSETS
  The offset of a record may be committed once everything made of it, and of all
  records before it in its partition, is done: filtered, taken by a sink, or
  failed and dealt with.
  Held back with what waits in: country, sink#2, sink.
  Committed once a second, unless run(commit=...) says otherwise; and at the end
  of the run, and before partitions are given away.

WHEN A STEP FAILS
  Where (default) stands, run(on_error=...) can choose something else.
  stop          the run ends with StepFailed. What is complete before the record
                is committed; the record itself is not, and will be read again.
  skip          the record is counted and logged, and its offset moves on; of a
                failed group all of it.
  dead letters  the original record, of a failed group every one, goes the way
                of the dead letters; its offset moves on once the sink there has
                it.
"""

OPEN = """\
SOURCE
  from_iterable  reads values in memory; there are no offsets to commit

STEPS
  Steps of one stage are fused: nothing waits between them. Before the first
  stage, Intake numbers the records; behind the last, Completion notes that they
  are done. On the right: what happens to a record that fails.
  stage 1, Splitter
    broadcast  broadcast                                         cannot fail
               - each value goes to all branches, and is done when all are
               - one chunk waits for the slowest branch
      branch 1:
        stage 2, Segment
          str        map_(str)                                   stop (default)
      branch 2:
        stage 3, Segment
          batch      batch(2)                                    cannot fail
                     - holds up to 2 values until the group is full, for as long
                       as that takes
        stage 4, Segment
          unbatch    unbatch()                                   stop (default)
    What leaves the branches goes on together.
  stage 5, Segment
    scan       scan(lambda, 0)                                   stop (default)
               - a state for each partition, in memory; new where a partition is
                 read again
  (no sink yet: to run it, end it with sink(f), a broker's sink(topic) or
  to_list())

QUEUES
  from the source  up to 2,000 records, or about 4 MiB. Nothing more is read
                   while they wait
  into a stage     up to 2,000 records at once, as a chunk, through the steps of
                   a stage
  between stages   what came of one chunk. A stage that cannot hand it on takes
                   nothing more
  broadcast        one chunk waits for the slowest branch
  batch            holds up to 2 values until the group is full, for as long as
                   that takes

OFFSETS
  Nothing is committed: values in memory have no offsets.

WHEN A STEP FAILS
  Where (default) stands, run(on_error=...) can choose something else.
  stop  the run ends with StepFailed. What is complete before the record is
        committed; the record itself is not, and will be read again.
"""


def long_names(broker: LocalBroker) -> Any:
    flow: Any = broker.source("t" * 200, group_id="g" * 200)
    for _ in range(12):
        flow = flow | map_(parse, name="n" * 100)
    return flow | to_list()


def nested(broker: LocalBroker) -> Any:
    def deep(levels: int) -> Callable[[Any], Any]:
        return broadcast(deep(levels - 1), map_(parse)) if levels else map_(parse)

    return broker.source("orders") | deep(30)


def everything(broker: LocalBroker) -> Any:
    web = broker.source("web", group_id="g", decode=JSON) | map_(parse)
    apps: Any = broker.source(re.compile("app-.*"), group_id="g", tombstones="keep", on_gap="fail")
    return (
        merge(web, apps | decode(JSON))
        | through(Middle())
        | fold(lambda total, n: total, 0, size=3, on_error=dead_letter(sink(Table())))
        | broadcast(sink(Table()), batch(3) | broker.sink("out", encode=JSON))
    )


FLOWS = [service, branches, open_flow, long_names, nested, everything]


@pytest.mark.parametrize("make", FLOWS)
def test_no_line_is_longer_than_80_columns(make: Callable[[LocalBroker], Any]) -> None:
    text = make(LocalBroker()).explain()
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()


@pytest.mark.parametrize(("make", "text"), [(service, SERVICE), (branches, BRANCHES), (open_flow, OPEN)])
def test_flow_is_explained(make: Callable[[LocalBroker], Any], text: str) -> None:
    assert make(LocalBroker()).explain() + "\n" == text


def test_explaining_opens_nothing_calls_nothing_and_makes_no_topic() -> None:
    broker = LocalBroker()
    text = everything(broker).explain()
    assert "ForeignStage" in text
    assert "flush()" in text
    assert broker.topics() == {}


def ran(stages: list[tuple[str, ...]]) -> Callable[[ProcessingStrategy[Any], tuple[str, ...]], ProcessingStrategy[Any]]:
    def note(strategy: ProcessingStrategy[Any], names: tuple[str, ...]) -> ProcessingStrategy[Any]:
        if names:
            stages.append(names)
        return strategy

    return note


def told(way: Way) -> list[Stage]:
    stages = [stage for inner in way.merged for stage in told(inner)]
    for stage in way.stages:
        stages += [stage, *(each for place in stage.places for branch in place.branches for each in told(branch))]
    return stages


@pytest.mark.parametrize("make", [service, branches, open_flow, nested])
def test_stages_that_are_told_are_those_that_run(make: Callable[[LocalBroker], Any]) -> None:
    flow = make(LocalBroker())
    stages: list[tuple[str, ...]] = []
    factory = prepare(flow.plan, new_run(instrument=ran(stages)))
    factory.create_with_partitions(lambda offsets, force=False: None, {}).terminate()
    factory.shutdown()
    whole = outline(named(flow.plan))
    every = [*told(whole.flow), *(stage for _, way in whole.dead_letters for stage in told(way))]
    assert sorted(tuple(place.name for place in stage.places) for stage in every) == sorted(stages)
    assert [stage.number for stage in every] == list(range(1, len(every) + 1))


# -- parts of it ------------------------------------------------------------------------------------------------------


def flow_of(source: Flow[Any]) -> str:
    return (source | sink(insert_rows)).explain()


def section(text: str, title: str) -> str:
    """One section in one line."""
    return next(" ".join(block.split()) for block in text.split("\n\n") if block.startswith(title))


def test_source_without_a_group_commits_nothing() -> None:
    text = flow_of(LocalBroker().source("orders", start="latest", on_gap="earliest"))
    assert "without a group: all partitions, from what comes next; nothing is committed" in section(text, "SOURCE")
    assert "records that are gone before they were read are passed over" in section(text, "SOURCE")
    assert section(text, "OFFSETS") == "OFFSETS Nothing is committed: the source has no group."


def test_iterator_is_told_to_run_once() -> None:
    assert "an iterator cannot be read again" in section(flow_of(from_iterable(iter([1]))), "SOURCE")


def test_group_without_within_behind_a_broker_is_warned_of() -> None:
    text = (LocalBroker().source("orders", group_id="g") | batch(10) | sink(insert_rows)).explain()
    assert "give within=" in section(text, "WARNINGS")
    assert "for as long as that takes" in section(text, "QUEUES")


def test_faults_are_told_and_not_raised() -> None:
    text = (from_iterable([1]) | broadcast(take(3) | sink(print), sink(print))).explain()
    assert "take ends the whole run" in section(text, "FAULTS")


def test_merged_flows_stand_before_what_follows_them() -> None:
    text = everything(LocalBroker()).explain()
    places = [text.index(part) for part in ("flow 1:", "stage 1,", "flow 2:", "stage 2,", "merged,", "stage 3,")]
    assert places == sorted(places)


def test_policy_of_a_dead_letter_pipeline_is_not_that_of_the_run() -> None:
    text = branches(LocalBroker()).explain()
    letters = text.split("dead letters of parse")[1].split("QUEUES")[0]
    assert "(default)" not in letters
