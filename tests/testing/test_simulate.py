"""``simulate`` as users call it: what it finds, what it returns and raises, and that a seed tells everything."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import pytest

from flowdsl import (
    FlowDefinitionError,
    LocalBroker,
    Record,
    StepFailed,
    batch,
    broadcast,
    dead_letter,
    filter_,
    fold,
    from_iterable,
    map_,
    merge,
    retry,
    sink,
    take,
    through,
    to_list,
    with_record,
)
from flowdsl.testing import ALL_CHECKS, Report, SimulationFailed, simulate
from tests.strategies.doubles import Passing
from tests.testing.broken import Dying, Eager, Stammering, Swapping, Through

BROKER = LocalBroker()
RECORDS = [b"%02d" % number for number in range(30)]


def nothing(_: object) -> None:
    raise AssertionError("a simulation calls no sink")


def orders(*operators: Any) -> Any:
    source: Any = BROKER.source("orders", group_id="g")
    return source.pipe(*operators)


PLAIN = orders(map_(bytes.lower), sink(nothing))


def test_report_tells_of_lives_replays_and_commits() -> None:
    report = simulate(PLAIN, RECORDS, seeds=20)
    assert report.seeds == 20
    assert report.lives >= 20
    assert report.replays > 0
    assert report.longest_without_commit > 0


def test_report_is_the_sum_of_its_seeds() -> None:
    one, other, both = (simulate(PLAIN, RECORDS, seeds=seeds) for seeds in ([3], [8], [3, 8]))
    assert one + other == both


def test_seeds_are_a_number_or_those_that_are_named() -> None:
    assert simulate(PLAIN, RECORDS, seeds=3) == simulate(PLAIN, RECORDS, seeds=range(3))


@pytest.mark.parametrize(
    ("kind", "checks"),
    [
        (Eager, {"ahead", "lost"}),
        (Swapping, {"order"}),
        (Stammering, {"twice"}),
        (Dying, {"raised"}),
    ],
)
def test_a_strategy_that_breaks_a_promise_is_found(kind: type[Passing], checks: set[str]) -> None:
    flow = orders(through(Through(kind)), map_(bytes.lower), sink(nothing))
    with pytest.raises(SimulationFailed) as failed:
        simulate(flow, RECORDS, checks=checks)
    assert failed.value.check in checks
    assert (failed.value.__cause__ is not None) == (kind is Dying)


def test_a_strategy_that_keeps_them_is_not() -> None:
    flow = orders(through(Through(Passing)), map_(bytes.lower), sink(nothing))
    assert simulate(flow, RECORDS, seeds=25).seeds == 25


def test_failure_has_the_seed_and_a_trace_and_the_call_that_repeats_it() -> None:
    flow = orders(through(Through(Eager)), sink(nothing))
    with pytest.raises(SimulationFailed) as failed:
        simulate(flow, RECORDS, members=2, checks={"ahead"})
    first = failed.value
    assert first.again == f"simulate(flow, records, seeds=[{first.seed}], members=2, checks=['ahead'])"
    assert "commits orders[" in "\n".join(first.trace)
    for part in (f"seed {first.seed}", "'ahead'", first.reason, first.trace[-1], first.again):
        assert part in str(first)
    with pytest.raises(SimulationFailed) as again:
        simulate(flow, RECORDS, seeds=[first.seed], members=2, checks=["ahead"])
    assert (again.value.trace, again.value.reason) == (first.trace, first.reason)


def test_a_check_that_is_not_asked_for_finds_nothing() -> None:
    flow = orders(through(Through(Stammering)), sink(nothing))
    assert simulate(flow, RECORDS, seeds=20, checks=ALL_CHECKS - {"twice"}).seeds == 20


def test_function_that_depends_on_earlier_runs_is_named_as_the_cause() -> None:
    calls: list[bytes] = []

    def once(value: bytes) -> bytes:
        calls.append(value)
        if len(calls) == 1_500:
            raise ZeroDivisionError
        return value

    with pytest.raises(SimulationFailed, match="keeps a state that outlives a run") as failed:
        simulate(orders(map_(once), sink(nothing)), RECORDS)
    assert failed.value.check == "raised"


# -- flows that need no trace ------------------------------------------------------------------------------------------

FLOWS = {
    "a broker's sink": orders(batch(2, within=0.2), map_(b"".join), BROKER.sink("out")),
    "topics by name": BROKER.source(["orders", "returns"], group_id="g") | sink(nothing),
    "merged topics": merge(
        BROKER.source("a", group_id="g"), BROKER.source("b", group_id="g") | batch(2, within=0.1) | map_(b"".join)
    )
    | sink(nothing),
    "dead letters of groups": orders(
        batch(3, within=0.3),
        map_(lambda values: [int(value) for value in values], on_error=dead_letter(BROKER.sink("dead"))),
        sink(nothing),
    ),
    "records of outputs": orders(with_record(), sink(nothing)),
    "several sinks": orders(
        broadcast(BROKER.sink("one"), sink(nothing, name="two"), map_(bytes.upper) | BROKER.sink("three"))
    ),
    "in memory": from_iterable([]) | batch(4) | to_list(),
    "a part": orders(take(4), sink(nothing)),
}


@pytest.mark.parametrize("name", [name for name in FLOWS if "merged" not in name and "broker" not in name])
def test_flow_needs_no_trace(name: str) -> None:
    records = [*RECORDS, b"odd", b"one"] if "dead" in name else RECORDS
    assert simulate(FLOWS[name], records, seeds=25).seeds == 25


@pytest.mark.parametrize("name", ["a broker's sink", "merged topics"])
def test_outputs_of_several_records_need_a_trace(name: str) -> None:
    def pairs(output: bytes) -> list[bytes]:
        return [output[at : at + 2] for at in range(0, len(output), 2)]

    with pytest.raises(ValueError, match="give trace="):
        simulate(FLOWS[name], RECORDS, seeds=25)
    assert simulate(FLOWS[name], RECORDS, seeds=25, trace=pairs).seeds == 25


def test_groups_of_numbers_need_a_trace() -> None:
    flow = orders(fold(lambda count, _: count + 1, 0, size=3), sink(nothing))
    with pytest.raises(ValueError, match="depends on several records"):
        simulate(flow, RECORDS)


def test_outputs_that_are_never_the_same_need_a_trace() -> None:
    numbers = count()
    flow = orders(map_(lambda value: (value, next(numbers))), sink(nothing))
    with pytest.raises(ValueError, match=r"every time.*give trace="):
        simulate(flow, RECORDS)
    assert simulate(flow, RECORDS, seeds=10, trace=lambda output: output[0]).seeds == 10


def test_groups_that_are_skipped_cannot_be_told_from_lost_ones() -> None:
    flow = orders(batch(3), map_(lambda values: [int(value) for value in values], on_error="skip"), sink(nothing))
    with pytest.raises(ValueError, match="skips whole groups"):
        simulate(flow, [*RECORDS, b"odd"])


def test_records_may_be_given_with_all_that_they_have() -> None:
    records = [
        Record("orders", number % 3, 0, b"k%d" % number, b"v%d" % number, (("h", b"x"),)) for number in range(20)
    ]
    seen: set[Any] = set()

    def noted(pair: tuple[bytes, Record[bytes | None]]) -> bytes | None:
        seen.add((pair[1].topic, pair[1].partition, pair[1].key, pair[1].headers))
        return pair[1].key

    assert simulate(orders(with_record(), map_(noted), sink(nothing)), records, seeds=5).seeds == 5
    assert seen == {("orders", number % 3, b"k%d" % number, (("h", b"x"),)) for number in range(20)}


def test_text_is_encoded_as_a_broker_does() -> None:
    assert simulate(orders(map_(bytes.decode), sink(nothing)), ["a", "b"], seeds=2).seeds == 2


def test_what_the_flow_raises_by_itself_is_raised() -> None:
    with pytest.raises(StepFailed):
        simulate(orders(map_(int), sink(nothing)), [b"1", b"one"])


def test_what_trace_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        simulate(PLAIN, RECORDS, trace=lambda _: 1 // 0)


# -- misuse ------------------------------------------------------------------------------------------------------------


def even(value: bytes) -> bytes:
    if int(value) % 2:
        raise ValueError(value)
    return value


def test_who_gives_partitions_up_may_leave_what_is_tried_again_for_longer_than_that_lasts() -> None:
    patient = retry(4, first=0.4, most=0.4, jitter=False, then="skip")
    simulate(orders(map_(even, on_error=patient), map_(bytes.lower), sink(nothing)), RECORDS, seeds=30)


def test_open_flow_is_refused() -> None:
    with pytest.raises(FlowDefinitionError, match="the flow is open"):
        simulate(orders(map_(bytes)), RECORDS)


def test_flow_with_faults_is_refused() -> None:
    with pytest.raises(FlowDefinitionError, match="with_record"):
        simulate(orders(batch(2), with_record(), sink(nothing)), RECORDS)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"flow": 5}, TypeError, "flow must be a flow that ends in a sink, not 5"),
        ({"records": 5}, TypeError, "records must be an iterable of values, not 5"),
        ({"records": "abc"}, TypeError, r"records must be an iterable of values, not 'abc': .* \['abc'\]"),
        ({"records": []}, ValueError, "records must not be empty"),
        ({"records": [b"a", b"b", b"a"]}, ValueError, "there are two of b'a'"),
        ({"records": [{"id": 1}]}, TypeError, "value must be .* not {.id.: 1}"),
        (
            {"records": [Record("others", 0, 0, None, b"a")]},
            ValueError,
            "topic must be one that the flow reads, not 'others'",
        ),
        ({"records": [Record("orders", -1, 0, None, b"a")]}, ValueError, "partition must be at least 0, but is -1"),
        ({"members": 0}, ValueError, "members must be at least 1, but is 0"),
        ({"members": 1.5}, TypeError, "members must be a whole number, not 1.5"),
        ({"seeds": 0}, ValueError, "seeds must be at least 1, but is 0"),
        ({"seeds": []}, ValueError, "seeds must be a number of seeds, or a collection"),
        ({"seeds": "7"}, ValueError, "seeds must be a number of seeds, or a collection"),
        ({"trace": 5}, TypeError, "trace must be a function, not 5"),
        ({"checks": ["lots"]}, ValueError, "checks must be some of .*, not lots"),
        ({"checks": []}, ValueError, "checks must be a collection of some of"),
        ({"checks": "lost"}, ValueError, "checks must be a collection of some of"),
    ],
    ids=str,
)
def test_bad_argument_is_named(given: dict[str, Any], error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {"flow": PLAIN, "records": RECORDS, "seeds": 1, **given}
    with pytest.raises(error, match=text):
        simulate(arguments.pop("flow"), arguments.pop("records"), **arguments)


def test_flow_that_reads_a_pattern_needs_records_with_topics() -> None:
    flow = BROKER.source(re.compile("orders-.*"), group_id="g") | sink(nothing)
    with pytest.raises(ValueError, match="topic must be given"):
        simulate(flow, RECORDS)
    records = [Record(f"orders-{number % 2}", 0, 0, None, b"%d" % number) for number in range(10)]
    assert isinstance(simulate(flow, records, seeds=5), Report)


def test_filtered_values_and_one_member_and_few_records_are_fine() -> None:
    assert simulate(orders(filter_(lambda _: False), sink(nothing)), [b"a"], seeds=10, members=1).replays == 0
