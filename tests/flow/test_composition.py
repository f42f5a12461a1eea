"""Flows, fragments and branches: how they go together, and what is refused when they do."""

import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from flowdsl import (
    ClosedFlow,
    Flow,
    FlowDefinitionError,
    FlowNotClosedError,
    LocalBroker,
    batch,
    broadcast,
    dead_letter,
    filter_,
    flat_map,
    fold,
    from_iterable,
    last,
    map_,
    merge,
    processes,
    retry,
    route,
    scan,
    sink,
    take,
    tap,
    through,
    to_list,
    unbatch,
    using,
    with_record,
)
from flowdsl.compiler.validate import faults, warnings
from flowdsl.plan.names import named
from flowdsl.plan.where import here


def parse(value: object) -> str:
    return str(value)


def valid(value: object) -> bool:
    return bool(value)


def keep(value: object) -> None: ...


def paired(one: object, other: object) -> tuple[object, object]:
    return one, other


def parsed(flow: Flow[object]) -> Flow[str]:
    return flow | map_(parse) | filter_(valid)


def wrong(flow: object) -> Any:
    return flow and 3


class Middle:
    def create_with_partitions(self, commit: object, partitions: object, downstream: object) -> Any: ...


class End:
    def create_with_partitions(self, commit: object, partitions: object) -> Any: ...


def names_of(flow: Any) -> list[str]:
    return list(named(flow.plan).all_names())


SOURCE = from_iterable((1, 2))


# -- values -------------------------------------------------------------------------------------------------------


def test_a_flow_is_a_value_that_branches_off() -> None:
    base = SOURCE | map_(parse)
    one, other = base | filter_(valid), base | tap(keep)
    assert len(base.plan.steps) == 1
    assert one != other
    assert one == SOURCE | map_(parse) | filter_(valid)
    assert hash(one) == hash(SOURCE | map_(parse) | filter_(valid))


def test_flows_over_lists_compare_though_they_do_not_hash() -> None:
    assert from_iterable([1]) == from_iterable([1]) != from_iterable([2])


def test_open_and_closed_are_types() -> None:
    assert isinstance(SOURCE | map_(parse), Flow)
    assert isinstance(SOURCE | sink(keep), ClosedFlow)
    assert not isinstance(SOURCE | sink(keep), Flow)


def test_pipe_is_the_bar() -> None:
    assert SOURCE.pipe(parsed, batch(2), sink(keep)) == SOURCE | parsed | batch(2) | sink(keep)


def test_a_fragment_is_used_as_often_as_one_likes() -> None:
    clean = map_(parse) | filter_(valid)
    assert SOURCE | clean | batch(2) == SOURCE | map_(parse) | filter_(valid) | batch(2)
    assert SOURCE | (clean | batch(2)) == SOURCE | (map_(parse) | (filter_(valid) | batch(2)))
    assert clean == map_(parse) | filter_(valid)


def test_a_function_of_ones_own_is_an_operator_also_first_in_a_fragment() -> None:
    assert SOURCE | parsed == SOURCE | map_(parse) | filter_(valid)
    assert SOURCE | (parsed | batch(2)) == SOURCE | parsed | batch(2)
    assert SOURCE | (batch(2) | (lambda flow: flow | unbatch())) == SOURCE | batch(2) | unbatch()


def test_a_flow_shows_one_line_per_step() -> None:
    flow = (
        SOURCE | parsed | scan(lambda n, _: n, 0, per="flow") | fold(lambda n, _: n, 0, size=3, within=1) | sink(keep)
    )
    assert repr(flow).splitlines() == [
        "from_iterable((1, 2))",
        "| map_(parse)",
        "| filter_(valid)",
        "| scan(lambda, 0, per='flow')",
        "| fold(lambda, 0, size=3, within=1.0)",
        "| sink(keep)",
    ]


def test_policies_workers_and_resources_are_shown_as_they_were_written() -> None:
    broker = LocalBroker()
    policy = retry(5, first=1, only=(ValueError, KeyError), then=dead_letter(filter_(valid) | broker.sink("dead")))
    flow = (
        broker.source("orders", start=last(3))
        | map_(parse, scheduler=processes(2), on_error=retry(3, then="skip"))
        | map_(using(nullcontext, paired), concurrency=4, on_error=policy)
    )
    again = "retry(5, first=1.0, only=(ValueError, KeyError), then=dead_letter(filter_(valid) | sink('dead')))"
    assert repr(flow).splitlines() == [
        "source('orders', start=last(3))",
        "| map_(parse, on_error=retry(3, then='skip'), scheduler=processes(2))",
        f"| map_(using(nullcontext, paired), on_error={again}, concurrency=4)",
    ]


def test_branches_are_shown_beneath_their_step() -> None:
    flow = (
        SOURCE | map_(parse, name="p", on_error="skip") | route(parse, {"a": batch(2) | sink(keep)}, default=sink(keep))
    )
    assert repr(flow).splitlines() == [
        "from_iterable((1, 2))",
        "| map_(parse, name='p', on_error='skip')",
        "| route(parse)",
        "    'a':",
        "        | batch(2)",
        "        | sink(keep)",
        "    default:",
        "        | sink(keep)",
    ]


def test_a_step_keeps_its_line_whatever_its_values_show() -> None:
    class Table:
        def __repr__(self) -> str:
            return "a  b\n1  2"

        def __call__(self, value: object) -> object:
            return value

    assert repr(from_iterable((Table(),)) | map_(Table())).splitlines() == [
        "from_iterable((a  b 1  2,))",
        "| map_(a  b 1  2)",
    ]


def test_no_more_of_large_values_is_looked_at_than_is_shown() -> None:
    class Item:
        looked_at = 0

        def __repr__(self) -> str:
            Item.looked_at += 1
            return "item"

    text = repr(from_iterable([Item()] * 100_000) | map_(parse))
    assert text.splitlines()[0].startswith("from_iterable([item, item, ")
    assert text.splitlines()[0].endswith("...)")
    assert Item.looked_at <= 200
    assert repr(from_iterable("x" * 10_000)) == f"from_iterable('{'x' * 196}...)"


def test_a_merge_may_have_a_name() -> None:
    assert names_of(merge(SOURCE, SOURCE, name="both") | to_list()) == ["from_iterable", "from_iterable#2", "to_list"]
    assert repr(merge(SOURCE, SOURCE, name="both")).splitlines()[0] == "merge(name='both')"
    with pytest.raises(ValueError, match="name"):
        merge(SOURCE, name="")


# -- misuse -------------------------------------------------------------------------------------------------------


def test_a_flow_is_not_iterable_and_says_how_to_run_it() -> None:
    with pytest.raises(TypeError, match=r"to_list\(\)"):
        list(SOURCE)  # type: ignore[call-overload]  # what is refused


def test_a_closed_flow_says_so_too() -> None:
    closed: Any = SOURCE | sink(keep)
    with pytest.raises(TypeError, match=r"flow\.run\(\)"):
        list(closed)


@pytest.mark.parametrize("name", ["run", "start", "compile"])
def test_an_open_flow_does_not_run(name: str) -> None:
    flow = SOURCE | map_(parse)
    assert not hasattr(flow, name)
    with pytest.raises(FlowNotClosedError, match=rf"cannot {name}.*sink") as refused:
        getattr(flow, name)
    assert isinstance(refused.value, AttributeError)
    assert isinstance(refused.value, FlowDefinitionError)
    assert refused.value.problems[0].file == __file__


@pytest.mark.parametrize("operator", [wrong, print, lambda _: None])
def test_an_operator_that_returns_no_flow_is_named(operator: Any) -> None:
    name = re.escape(operator.__name__)
    with pytest.raises(TypeError, match=rf"{name}.*must return a flow"):
        SOURCE | operator
    with pytest.raises(TypeError, match=rf"{name}.*must return a flow"):
        SOURCE | (map_(parse) | operator)
    with pytest.raises(TypeError, match=rf"{name}.*must return a flow"):
        SOURCE | broadcast(operator)


def test_what_cannot_be_called_is_no_operator() -> None:
    three: Any = 3
    attempts: list[Callable[[], object]] = [
        lambda: SOURCE | three,
        lambda: map_(parse) | three,
        lambda: three | map_(parse),
    ]
    for build in attempts:
        with pytest.raises(TypeError, match="3 is no"):
            build()


def test_an_operator_takes_flows_only() -> None:
    three: Any = 3
    with pytest.raises(TypeError, match="map_ takes a flow, not 3"):
        map_(parse)(three)
    with pytest.raises(TypeError, match="a fragment takes a flow, not 3"):
        (map_(parse) | filter_(valid))(three)


def test_nothing_stands_behind_a_sink() -> None:
    closed: Any = SOURCE | sink(keep)
    ends: Any = sink(keep)
    splits: Any = broadcast(sink(keep))
    attempts: list[Callable[[], object]] = [
        lambda: closed | map_(parse),
        lambda: closed | parsed,
        lambda: closed.pipe(map_(parse)),
        lambda: SOURCE.pipe(ends, map_(parse)),
        lambda: ends | map_(parse),
        lambda: SOURCE | splits | map_(parse),
        lambda: SOURCE | (splits | map_(parse)),
        lambda: splits | map_(parse),
        lambda: route(parse, {1: map_(parse) | ends}, default=ends) | map_(parse),
        lambda: to_list() | to_list(),  # type: ignore[operator]  # what is refused
        lambda: map_(parse) | ends | parsed,
    ]
    for build in attempts:
        with pytest.raises(FlowDefinitionError, match="stands behind"):
            build()


def test_calling_an_operator_with_a_closed_flow_is_refused_as_the_bar_is() -> None:
    closed: Any = from_iterable([1]) | sink(keep)
    for operator in (map_(parse), sink(keep), broadcast(sink(keep)), map_(parse) | to_list()):
        call: Any = operator
        with pytest.raises(FlowDefinitionError, match="stands behind sink"):
            call(closed)


def test_what_stands_behind_a_sink_is_told_with_its_line() -> None:
    closed: Any = SOURCE | sink(keep)
    with pytest.raises(FlowDefinitionError) as refused:
        closed | map_(parse)
    line = here().line - 1
    problem = refused.value.problems[0]
    assert (problem.step, problem.file, problem.line) == ("map_", __file__, line)


@pytest.mark.parametrize(
    "grouping",
    [
        batch(2),
        fold(lambda n, _: n, 0, size=2),
        batch(2) | unbatch(),
        broadcast(batch(2), map_(parse)),
        route(parse, {1: map_(parse)}, default=batch(2)),
    ],
)
def test_with_record_is_refused_behind_what_groups(grouping: Any) -> None:
    with pytest.raises(FlowDefinitionError, match="several records"):
        SOURCE | grouping | with_record()
    with pytest.raises(FlowDefinitionError, match="several records"):
        SOURCE | grouping | broadcast(with_record() | sink(keep))
    with pytest.raises(FlowDefinitionError, match="several records"):
        merge(SOURCE | grouping, SOURCE) | with_record()


def test_with_record_stands_before_what_groups_and_beside_it() -> None:
    SOURCE | with_record() | batch(2)
    SOURCE | broadcast(batch(2) | sink(keep), with_record() | sink(keep))
    SOURCE | flat_map(lambda n: [n]) | with_record()


def test_branches_all_end_or_all_go_on() -> None:
    goes_on: Any = map_(parse)
    with pytest.raises(FlowDefinitionError, match="all branches end in a sink or none does"):
        SOURCE | broadcast(goes_on, sink(keep))
    with pytest.raises(FlowDefinitionError, match="all branches end in a sink or none does"):
        SOURCE | route(parse, {1: sink(keep)}, default=goes_on)


def test_a_branch_goes_on_from_what_it_is_given() -> None:
    with pytest.raises(FlowDefinitionError, match="must go on from the flow"):
        SOURCE | broadcast(lambda _: from_iterable([1]))


def test_a_branch_may_be_a_function() -> None:
    assert (SOURCE | broadcast(parsed)).plan.steps[0].branches[0].plan.steps == (map_(parse), filter_(valid))


# -- faults of the whole ------------------------------------------------------------------------------------------


def test_all_faults_come_together_each_with_its_line() -> None:
    line = here().line
    ways: dict[Any, Any] = {
        1: take(3) | sink(keep),
        2: map_(parse) | to_list(),
        3: through(End()),
        4: map_(parse, on_error=dead_letter(map_(parse))) | sink(keep),  # type: ignore[arg-type]  # what is refused
    }
    found = faults(named((SOURCE | route(parse, ways)).plan))
    assert [each.step for each in found] == ["take", "to_list", "through", "parse#3"]
    assert [each.line for each in found] == [line + 2, line + 3, line + 4, line + 5]
    assert {each.file for each in found} == {__file__}


def test_dead_letters_do_not_end_the_run() -> None:
    letters: Any = dead_letter(take(1) | sink(keep))
    assert [each.step for each in faults(named((SOURCE | map_(parse, on_error=letters) | sink(keep)).plan))] == ["take"]


def test_take_inside_a_merged_flow_is_a_fault() -> None:
    flow = merge(SOURCE | take(1), SOURCE) | to_list()
    assert [each.step for each in faults(named(flow.plan))] == ["take"]


def test_a_flow_without_fault_has_none() -> None:
    flow = (
        SOURCE | take(3) | map_(parse, on_error=dead_letter(sink(keep))) | broadcast(sink(keep), batch(2) | sink(keep))
    )
    assert faults(named(flow.plan)) == []
    assert faults(named((SOURCE | through(Middle()) | through(End())).plan)) == []


def test_a_group_without_within_behind_a_broker_is_warned_of() -> None:
    source = LocalBroker().source("orders", group_id="g")
    assert [each.step for each in warnings(named((source | batch(10) | sink(keep)).plan))] == ["batch"]
    assert warnings(named((source | batch(10, within=1.0) | sink(keep)).plan)) == []
    assert warnings(named((SOURCE | batch(10) | sink(keep)).plan)) == []


# -- merge --------------------------------------------------------------------------------------------------------


def test_flows_of_one_broker_and_group_are_merged() -> None:
    broker = LocalBroker()
    merged = merge(broker.source("a", group_id="g") | map_(parse), broker.source("b", group_id="g", tombstones="skip"))
    assert [plan.source.word for plan in getattr(merged.plan.source, "plans")] == ["source", "source"]  # noqa: B009  # of any source


def test_merges_nest() -> None:
    merge(merge(SOURCE, SOURCE) | map_(parse), SOURCE)


def test_what_differs_between_merged_sources_is_named() -> None:
    one, other = LocalBroker(), LocalBroker()
    source = one.source("a", group_id="g")
    for name, second in {
        "their broker differs: the embedded broker and another one like it": other.source("b", group_id="g"),
        "group_id": one.source("b", group_id="h"),
        "start": one.source("b", group_id="g", start="latest"),
        "from_iterable": from_iterable([b"1"]),
    }.items():
        with pytest.raises(FlowDefinitionError) as refused:
            merge(source, second)
        assert name in str(refused.value)


def test_patterns_that_do_not_go_together_are_refused_where_they_are_merged() -> None:
    broker = LocalBroker()
    named = [broker.source(re.compile(f"(?P<shop>{shop})-.*"), group_id="g") for shop in ("north", "south")]
    with pytest.raises(FlowDefinitionError, match=r"patterns .* group name 'shop'"):
        merge(*named)
    numbered = [broker.source(re.compile(rf"({shop})-\1"), group_id="g") for shop in ("north", "south")]
    with pytest.raises(FlowDefinitionError, match=r"groups have other numbers .* name those"):
        merge(*numbered)


def test_a_closed_flow_is_not_merged() -> None:
    closed: Any = SOURCE | sink(keep)
    with pytest.raises(FlowDefinitionError, match="cannot be merged"):
        merge(SOURCE, closed)


def test_inside_a_branch_nothing_is_merged() -> None:
    def merging(flow: Any) -> Any:
        return merge(flow, SOURCE)

    with pytest.raises(FlowDefinitionError, match="use broadcast"):
        SOURCE | broadcast(merging)


# -- values in memory ---------------------------------------------------------------------------------------------


def test_an_iterator_is_opened_once() -> None:
    source: Any = from_iterable(iter([1, 2])).plan.source
    assert list(source.open()) == [1, 2]
    with pytest.raises(FlowDefinitionError, match="cannot be read again"):
        source.open()


def test_a_generator_that_was_read_by_another_flow_is_refused() -> None:
    generator = (number for number in range(3))
    assert (from_iterable(generator) | to_list()).run() == [0, 1, 2]
    with pytest.raises(FlowDefinitionError, match="cannot be read again"):
        (from_iterable(generator) | to_list()).run()


def test_two_flows_are_told_to_merge() -> None:
    other: Any = SOURCE
    with pytest.raises(TypeError, match=r"is a flow: two flows go together with merge\(a, b\)"):
        SOURCE | other


def test_a_list_or_a_function_is_opened_as_often_as_one_likes() -> None:
    for values in ([1, 2], lambda: iter([1, 2])):
        source: Any = from_iterable(values).plan.source
        assert list(source.open()) == list(source.open()) == [1, 2]


def test_values_that_take_arguments_are_refused() -> None:
    takes: Any = parse
    with pytest.raises(TypeError, match="values must be a function without arguments"):
        from_iterable(takes)


def test_a_flow_is_no_iterable() -> None:
    flow: Any = SOURCE
    with pytest.raises(TypeError, match="values must be an iterable"):
        from_iterable(flow)
