"""Errors for people: one family, in one place, which pickle, are short, and keep secrets."""

from __future__ import annotations

import inspect
import pickle

import pytest

import flowdsl
from flowdsl import errors
from flowdsl.errors import (
    BrokerError,
    FlowDefinitionError,
    FlowError,
    FlowNotClosedError,
    Problem,
    StepFailed,
    shown,
    told,
)

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FlowError)]
OF_BROKERS = {
    "BrokerUnreachable",
    "TopicNotFound",
    "NotAuthorized",
    "DeliveryFailed",
    "OffsetOutOfRange",
    "Fenced",
    "CommitFailed",
}
NAMED = OF_BROKERS | {"FlowError", "FlowDefinitionError", "StepFailed", "BrokerError", "StopTimeout", "RunTimeout", "DlqLimitExceeded"}  # fmt: skip


def test_every_error_of_the_contract_is_in_flowdsl_and_derives_from_one() -> None:
    for name in NAMED:
        assert issubclass(getattr(flowdsl, name), FlowError), name
        assert name in flowdsl.__all__, name


def test_every_error_that_there_is_can_be_imported_from_flowdsl() -> None:
    assert {kind.__name__ for kind in ALL} <= set(flowdsl.__all__)


def test_errors_between_us_and_the_broker_are_broker_errors() -> None:
    assert {kind.__name__ for kind in ALL if issubclass(kind, BrokerError)} >= OF_BROKERS
    for name in OF_BROKERS:
        assert issubclass(getattr(flowdsl, name), BrokerError)


def failed() -> StepFailed:
    return StepFailed(
        step="parse",
        function="shop.parse",
        file="shop.py",
        line=12,
        topic="orders",
        partition=0,
        offset=137,
        value=b"x",
        input="x",
        reason="ValueError: no number",
        count=3,
        attempts=2,
    )


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_pickles(kind: type[FlowError]) -> None:
    problems = [Problem("no sink", "map_", "shop.py", 3), Problem("no source", "sink")]
    if issubclass(kind, FlowDefinitionError):
        error: FlowError = kind(problems)
    else:
        error = failed() if kind is StepFailed else kind("what happened", 7)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # what was just pickled
    assert (type(again), str(again), again.args) == (kind, str(error), error.args)
    assert vars(again) == vars(error)


def test_definition_error_tells_all_problems_with_their_places() -> None:
    one = FlowDefinitionError([Problem("no sink", "map_", "shop.py", 3)])
    assert str(one) == "map_: no sink (shop.py:3)"
    both = FlowDefinitionError([Problem("no sink", "map_", "shop.py", 3), Problem("no source", "sink")])
    assert str(both) == "the flow has 2 faults:\n  1. map_: no sink (shop.py:3)\n  2. sink: no source"
    (first, second) = both.problems
    assert (first.message, first.step, first.file, first.line) == ("no sink", "map_", "shop.py", 3)
    assert (second.file, second.line) == (None, None)


def test_open_flow_is_two_errors_in_one() -> None:
    assert issubclass(FlowNotClosedError, FlowDefinitionError)
    assert issubclass(FlowNotClosedError, AttributeError)


def test_what_is_shown_is_200_characters_at_most() -> None:
    assert len(shown("x" * 1000)) == len(told(ValueError("x" * 1000))) == 200
    assert shown("x" * 1000).endswith("...")
    assert shown("short") == "'short'"


def test_attempts_are_told_where_there_were_several() -> None:
    assert "after 2 attempts" in str(failed())
