"""Reduce, BatchStep and UnbatchStep: groups, when they leave, and the offsets that they hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flowdsl.errors import InvalidMessage
from flowdsl.strategies import (
    BaseValue,
    BatchStep,
    BrokerValue,
    FilterStep,
    Message,
    MessageRejected,
    Reduce,
    RunTask,
    UnbatchStep,
    Value,
)
from flowdsl.testing.virtual import VirtualClock
from tests.strategies.doubles import P0, P1, Blocked, NeedsPolls, Recorder, at, filtered


def add(total: int, value: BaseValue[int]) -> int:
    return total + value.payload


def total(end: Recorder, size: int, time: float = 10.0) -> tuple[Reduce[int, int], VirtualClock]:
    clock = VirtualClock()
    return Reduce(size, time, add, int, end, clock=clock), clock


def lists(end: Recorder) -> list[list[Any]]:
    return [[value.payload for value in batch] for batch in end.payloads]


def test_offsets_filtered_before_a_group_do_not_overtake_it() -> None:
    end, clock = Recorder(), VirtualClock()
    step = FilterStep[int](lambda message: message.payload == 0, BatchStep(10, 5.0, end, clock=clock))
    for n in range(4):
        step.submit(at(n, n))
    assert end.committed == {}
    clock.advance(5.0)
    step.poll()
    assert lists(end) == [[0]]
    assert end.committed == {P0: 4}


def test_a_filtered_offset_passes_at_once_where_no_group_is_open() -> None:
    end = Recorder()
    step, _ = total(end, 2)
    step.submit(filtered(0))
    assert end.committed == {P0: 1}
    assert step.next_deadline() is None


def test_a_full_group_leaves_in_the_same_submit() -> None:
    end = Recorder()
    step, _ = total(end, 2)
    step.submit(at(0, 4))
    assert end.payloads == []
    step.submit(at(1, 5))
    assert end.payloads == [9]


def test_the_clock_of_a_group_starts_with_its_first_message() -> None:
    end = Recorder()
    step, clock = total(end, 100, 10.0)
    clock.advance(9.0)
    step.submit(at(0, 4))
    assert step.next_deadline() == 19.0
    clock.advance(9.0)
    step.poll()
    assert end.payloads == []
    clock.advance(1.0)
    step.poll()
    assert end.payloads == [4]


def test_a_group_that_is_due_leaves_before_the_next_message_is_taken() -> None:
    end = Recorder()
    step, clock = total(end, 100, 10.0)
    step.submit(at(0, 4))
    clock.advance(11.0)
    step.submit(at(1, 5))
    assert end.payloads == [4]
    step.join()
    assert end.payloads == [4, 5]


def test_offsets_are_the_highest_of_each_partition_not_the_last() -> None:
    end = Recorder()
    step, _ = total(end, 3)
    for message in (at(9, 1), at(3, 1), at(5, 1, P1)):
        step.submit(message)
    assert end.committed == {P0: 10, P1: 6}


def test_the_timestamp_is_that_of_the_last_message_and_may_be_missing() -> None:
    when = datetime(2024, 5, 1, tzinfo=UTC)
    end = Recorder()
    step, _ = total(end, 2)
    for n, stamp in enumerate([None, when, when, None]):
        step.submit(Message(BrokerValue(n, P0, n, stamp)))
    assert [message.timestamp for message in end.messages] == [when, None]


def test_each_group_starts_from_a_fresh_initial_value() -> None:
    end = Recorder()

    def append(result: list[int], value: BaseValue[int]) -> list[int]:
        result.append(value.payload)
        return result

    step = Reduce(2, 10.0, append, list[int], end)
    for n in range(4):
        step.submit(at(n, n))
    assert end.payloads == [[0, 1], [2, 3]]


def test_the_value_that_reaches_the_size_is_taken() -> None:
    end = Recorder()
    step = BatchStep[str](5, 10.0, end, lambda value: len(value.payload))
    for n, text in enumerate(["ab", "cdef", "gh", "ijk"]):
        step.submit(at(n, text))
    assert lists(end) == [["ab", "cdef"], ["gh", "ijk"]]


def test_values_without_weight_leave_as_well() -> None:
    end, clock = Recorder(), VirtualClock()
    step = BatchStep[str](5, 10.0, end, lambda value: len(value.payload), clock=clock)
    step.submit(at(0, ""))
    clock.advance(10.0)
    step.poll()
    step.submit(at(1, ""))
    step.join()
    assert lists(end) == [[""], [""]]
    assert end.committed == {P0: 2}


def test_a_full_group_that_is_not_taken_is_not_added_to() -> None:
    end = Blocked()
    step, _ = total(end, 2)
    step.submit(at(0, 1))
    step.submit(at(1, 1))
    with pytest.raises(MessageRejected):
        step.submit(at(2, 1))
    end.open = True
    step.submit(at(2, 1))
    step.join()
    assert end.payloads == [2, 1]


def test_join_polls_a_downstream_that_makes_room_in_poll() -> None:
    end = NeedsPolls(5)
    step, clock = total(end, 2)
    for n in range(3):
        step.submit(at(n, 1))
    step.join(60.0)
    assert end.payloads == [2, 1]
    assert clock() < 1.0


def test_an_invalid_record_stays_behind_the_group_that_is_open() -> None:
    def refuse_seven(result: int, value: BaseValue[int]) -> int:
        if value.payload == 7:
            raise InvalidMessage.from_value(value)
        return result + value.payload

    end = Recorder()
    step = Reduce(10, 10.0, refuse_seven, int, end)
    step.submit(at(0, 1))
    with pytest.raises(InvalidMessage):
        step.submit(at(1, 7))
    assert end.committed == {}
    step.join()
    assert end.payloads == [1]
    assert end.committed == {P0: 2}


@pytest.mark.parametrize(
    ("size", "time", "text"),
    [
        (0, 1.0, "max_batch_size must be at least 1, but is 0"),
        (1, -1.0, "max_batch_time must not be negative, but is -1.0"),
    ],
)
def test_senseless_limits_are_refused(size: int, time: float, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        BatchStep[int](size, time, Recorder())


def test_a_batch_holds_values_with_their_own_place_and_unbatch_gives_them_back() -> None:
    end = Recorder()
    step = BatchStep[int](3, 10.0, UnbatchStep(end))
    messages = [at(0, 10), at(4, 11, P1), at(1, 12)]
    for message in messages:
        step.submit(message)
    assert end.messages == messages


def test_offsets_filtered_within_a_batch_leave_with_its_last_value() -> None:
    end = Recorder()
    step = BatchStep[int](2, 10.0, UnbatchStep(end))
    for message in (at(0, 10), filtered(7, P1), filtered(1), at(2, 11)):
        step.submit(message)
    assert end.payloads == [10, 11]
    assert [dict(message.committable) for message in end.messages] == [{P0: 1}, {P0: 3, P1: 8}]


def test_a_batch_that_was_put_in_another_order_moves_its_offsets_at_the_end_only() -> None:
    end = Recorder()

    def turned(message: Message[Any]) -> list[BaseValue[int]]:
        return list(reversed(message.payload))

    step = BatchStep[int](3, 10.0, RunTask(turned, UnbatchStep(end)))
    for n in range(3):
        step.submit(at(n, n))
    assert end.payloads == [2, 1, 0]
    assert [dict(message.committable) for message in end.messages] == [{}, {}, {P0: 3}]


def test_an_empty_batch_still_moves_its_offsets() -> None:
    end = Recorder()
    UnbatchStep[int](end).submit(Message(Value([], {P0: 5})))
    assert end.payloads == []
    assert end.committed == {P0: 5}
