"""RunTask: what is its own; the rest is in the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flowdsl.strategies import BrokerValue, Message, MessageRejected, RunTask
from tests.strategies.doubles import P0, Blocked, Recorder, at, filtered


def double(message: Message[int]) -> int:
    return message.payload * 2


def test_a_record_stays_a_record_with_its_place_and_time() -> None:
    end = Recorder()
    when = datetime(2024, 5, 1, tzinfo=UTC)
    RunTask(double, end).submit(Message(BrokerValue(4, P0, 7, when)))
    assert end.messages == [Message(BrokerValue(8, P0, 7, when))]


@pytest.mark.parametrize("better", [True, False])
def test_better_backpressure_changes_nothing(better: bool) -> None:
    end, calls = Blocked(), list[int]()
    step = RunTask[int, None](lambda message: calls.append(message.payload), end, better)
    step.submit(at(0, 10))
    for _ in range(5):
        with pytest.raises(MessageRejected):
            step.submit(at(1, 11))
    assert calls == [10]


def test_a_filtered_message_does_not_overtake_a_kept_result() -> None:
    end = Blocked()
    step = RunTask(double, end)
    step.submit(at(0, 1))
    with pytest.raises(MessageRejected):
        step.submit(filtered(1))
    end.open = True
    step.poll()
    step.submit(filtered(1))
    assert [dict(message.committable) for message in end.messages] == [{P0: 1}, {P0: 2}]


def test_a_filtered_message_never_reaches_the_function() -> None:
    end = Recorder()
    RunTask[Any, Any](lambda _: pytest.fail("called"), end).submit(filtered(3))
    assert end.messages == [filtered(3)]


def test_it_can_be_subclassed() -> None:
    class Slow(RunTask[int, int]):
        joins = 0

        def join(self, timeout: float | None = None) -> None:
            self.joins += 1
            super().join(timeout)

    end = Recorder()
    step = Slow(double, end)
    assert isinstance(step, RunTask)
    step.submit(at(0, 3))
    step.join()
    assert (step.joins, end.payloads, end.joined) == (1, [6], True)


def test_none_is_a_result_like_any_other() -> None:
    end = Recorder()
    RunTask[int, None](lambda _: None, end).submit(at(0, 3))
    assert end.payloads == [None]


def test_a_function_may_reject_by_itself_and_is_asked_again() -> None:
    asked: list[int] = []

    def function(message: Message[int]) -> int:
        asked.append(message.payload)
        if len(asked) == 1:
            raise MessageRejected
        return 5

    end = Recorder()
    step = RunTask(function, end)
    with pytest.raises(MessageRejected):
        step.submit(at(0, 1))
    step.submit(at(0, 1))
    assert end.payloads == [5]
