"""What steps are called."""

from functools import partial
from typing import Any

from flowdsl import batch, broadcast, dead_letter, filter_, from_iterable, map_, merge, route, sink, take
from flowdsl.plan.names import named


def parse(value: object) -> object:
    return value


def keep(value: object) -> None:
    del value


class Scorer:
    def __call__(self, value: object) -> object:
        return value


class Db:
    def write(self, values: object) -> None:
        del values


def names(flow: Any) -> list[str]:
    return [step.name for step in named(flow.plan).all_steps()]


def test_a_step_is_called_like_its_function() -> None:
    flow = from_iterable([1]) | map_(parse) | map_(str) | map_(Scorer()) | sink(keep)
    assert names(flow) == ["parse", "str", "Scorer", "keep"]


def test_a_partial_is_called_like_the_function_inside() -> None:
    wrapped: Any = partial(partial(parse), 1)
    assert names(from_iterable([1]) | map_(wrapped)) == ["parse"]


def test_lambdas_and_steps_without_function_are_called_like_the_operator() -> None:
    flow = from_iterable([1]) | map_(lambda n: n) | filter_(lambda n: n) | batch(2) | take(1) | sink(Db())
    assert names(flow) == ["map_", "filter_", "batch", "take", "sink"]


def test_the_second_of_a_name_is_numbered() -> None:
    assert names(from_iterable([1]) | map_(parse) | map_(parse) | map_(parse)) == ["parse", "parse#2", "parse#3"]


def test_a_name_that_looks_numbered_is_not_given_twice() -> None:
    flow = from_iterable([1]) | map_(parse) | map_(str, name="parse#2") | map_(parse)
    assert names(flow) == ["parse", "parse#2", "parse#3"]


def test_a_name_that_was_given_wins() -> None:
    assert names(from_iterable([1]) | map_(parse, name="orders")) == ["orders"]


def test_names_are_unique_over_branches_in_reading_order() -> None:
    way = map_(parse) | sink(keep)
    flow = from_iterable([1]) | map_(parse) | route(lambda n: n, {1: way, 2: way}, default=way)
    assert names(flow) == ["parse", "route", "parse#2", "keep", "parse#3", "keep#2", "parse#4", "keep#3"]


def test_steps_of_dead_letters_have_names_too() -> None:
    flow = from_iterable([1]) | map_(parse, on_error=dead_letter(map_(parse) | sink(keep))) | sink(keep)
    assert names(flow) == ["parse", "parse#2", "keep", "keep#2"]


def test_sources_of_a_merge_have_names_of_their_own() -> None:
    flow = merge(from_iterable([1]) | map_(parse), from_iterable([2])) | map_(parse)
    tree = named(flow.plan)
    assert [each.name for each in tree.all_sources()] == ["from_iterable", "from_iterable#2"]
    assert names(flow) == ["parse", "parse#2"]


def test_open_branches_go_on_behind_what_they_split() -> None:
    flow = from_iterable([1]) | broadcast(map_(str), map_(str)) | map_(str)
    assert names(flow) == ["broadcast", "str", "str#2", "str#3"]
