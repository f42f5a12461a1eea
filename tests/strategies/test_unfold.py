"""Unfold: one message, many values or none."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from flowdsl.strategies import BaseValue, Message, MessageRejected, Unfold, Value
from tests.strategies.doubles import P0, P1, Blocked, NeedsPolls, Recorder, at


def times(n: int) -> Iterable[BaseValue[int]]:
    return [Value(index, {}) for index in range(n)]


def test_the_last_value_moves_the_offset() -> None:
    end = Recorder()
    Unfold(times, end).submit(at(8, 3))
    assert end.payloads == [0, 1, 2]
    assert [dict(message.committable) for message in end.messages] == [{}, {}, {P0: 9}]


def test_a_message_that_becomes_nothing_still_moves_its_offset() -> None:
    end = Recorder()
    Unfold(times, end).submit(at(8, 0))
    assert end.payloads == []
    assert end.committed == {P0: 9}


def test_a_value_keeps_offsets_of_its_own() -> None:
    def generator(_: int) -> Iterable[BaseValue[str]]:
        return [Value("a", {P0: 3}), Value("b", {P1: 5})]

    end = Recorder()
    Unfold(generator, end).submit(Message(Value(0, {P0: 4})))
    assert [dict(message.committable) for message in end.messages] == [{P0: 3}, {P1: 5, P0: 4}]


def test_values_that_downstream_does_not_take_wait_in_order_and_block_nothing() -> None:
    end = Blocked()
    step = Unfold(times, end)
    step.submit(at(0, 3))
    with pytest.raises(MessageRejected):
        step.submit(at(1, 1))
    end.open = True
    step.poll()
    step.submit(at(1, 1))
    assert end.payloads == [0, 1, 2, 0]


def test_join_drains_through_a_downstream_that_needs_polls() -> None:
    end = NeedsPolls(2)
    step = Unfold(times, end)
    step.submit(at(0, 20))
    step.join(60.0)
    assert end.payloads == list(range(20))


def test_nothing_leaves_of_a_generator_that_raises_midway() -> None:
    def generator(_: int) -> Iterable[BaseValue[int]]:
        yield Value(1, {})
        raise ArithmeticError

    end = Recorder()
    with pytest.raises(ArithmeticError):
        Unfold(generator, end).submit(at(0, 0))
    assert end.messages == []
