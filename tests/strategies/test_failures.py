"""What holds after user code raised: nothing behind the failure leaves, nothing before it is lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from flowdsl.errors import FlowError, InvalidMessage
from flowdsl.strategies import (
    BaseValue,
    BatchStep,
    FilterStep,
    Message,
    MessageRejected,
    ProcessingStrategy,
    Reduce,
    RunTask,
    Unfold,
    Value,
)
from tests.strategies.doubles import P0, Blocked, Recorder, Rejecting, at

FAILURES = [ArithmeticError, StopIteration, KeyboardInterrupt, SystemExit, TimeoutError]


def raising_at(bad: int, error: type[BaseException]) -> Any:
    def function(message: Message[int]) -> int:
        if message.payload == bad:
            raise error
        return message.payload

    return function


def halves(n: int) -> Iterable[BaseValue[int]]:
    return [Value(n, {}), Value(n + 100, {})]


@pytest.mark.parametrize("error", FAILURES)
def test_the_failed_message_and_what_comes_behind_it_are_not_committed(error: type[BaseException]) -> None:
    end = Recorder()
    step = Unfold(halves, RunTask(raising_at(1, error), end))
    step.submit(at(0, 0))
    with pytest.raises(error):
        step.submit(at(1, 1))
    with pytest.raises(RuntimeError, match="takes no more messages"):
        step.submit(at(2, 2))
    step.poll()
    step.close()
    step.join(1.0)
    assert end.payloads == [0, 100]
    assert end.committed == {P0: 1}
    assert end.joined


@pytest.mark.parametrize("error", FAILURES)
def test_a_group_that_came_before_a_failing_message_may_still_leave(error: type[BaseException]) -> None:
    def accumulator(result: int, value: BaseValue[int]) -> int:
        if value.payload == 2:
            raise error
        return result + 1

    end = Recorder()
    step = Reduce(10, 10.0, accumulator, int, end)
    step.submit(at(0, 0))
    step.submit(at(1, 1))
    with pytest.raises(error):
        step.submit(at(2, 2))
    with pytest.raises(RuntimeError, match="takes no more messages"):
        step.submit(at(3, 3))
    step.join(1.0)
    assert end.payloads == [2]
    assert end.committed == {P0: 2}


@pytest.mark.parametrize("error", FAILURES)
def test_a_downstream_that_fails_once_is_given_nothing_of_what_came_behind(error: type[BaseException]) -> None:
    class Once(Recorder):
        failed = False

        def takes(self, message: Message[Any]) -> bool:
            if message.payload == 1 and not self.failed:
                self.failed = True
                raise error
            return True

    end = Once()
    step = Unfold(halves, end)
    step.submit(at(0, 0))
    with pytest.raises(error):
        step.submit(at(1, 1))
    step.poll()
    step.join(1.0)
    assert end.payloads == [0, 100]
    assert end.committed == {P0: 1}


def test_a_failure_in_join_still_joins_what_is_downstream() -> None:
    end = Recorder()
    step = BatchStep[int](10, 10.0, RunTask(_explode, end))
    step.submit(at(0, 0))
    with pytest.raises(ArithmeticError):
        step.join(1.0)
    assert end.joined
    assert end.committed == {}
    step.join(1.0)
    assert end.committed == {}


def _explode(_: Message[Any]) -> None:
    raise ArithmeticError


def invalid_at(*bad: int) -> Any:
    def function(message: Message[int]) -> int:
        if message.payload in bad:
            raise InvalidMessage.from_value(message)
        return message.payload

    return function


def test_an_invalid_message_further_down_is_not_taken_for_the_one_that_is_submitted() -> None:
    """The second step cannot hand on 0; when it can, its downstream finds 0 invalid while 1 is being submitted."""
    end = Recorder()
    valve = Valve(RunTask(invalid_at(0), end))
    step = RunTask(raising_at(-1, ArithmeticError), valve)
    step.submit(at(0, 0))
    valve.open = True
    step.submit(at(1, 1))
    with pytest.raises(InvalidMessage) as caught:
        step.poll()
    assert caught.value.offset == 0
    step.join(1.0)
    assert end.payloads == [1]
    assert end.committed == {P0: 2}


class Valve(Blocked):
    """Takes nothing, and later hands everything straight on."""

    def __init__(self, next_step: ProcessingStrategy[Any]) -> None:
        super().__init__()
        self._next_step = next_step

    def submit(self, message: Message[Any]) -> None:
        super().submit(message)
        self._next_step.submit(message)

    def poll(self) -> None:
        self._next_step.poll()

    def join(self, timeout: float | None = None) -> None:
        self._next_step.join(timeout)


def test_a_hand_written_step_may_leave_the_offset_of_an_invalid_message_to_the_step_before_it() -> None:
    class Strict(Recorder):
        def takes(self, message: Message[Any]) -> bool:
            if message.payload == 1:
                raise InvalidMessage.from_value(message)
            return True

    end = Strict()
    step = RunTask(raising_at(-1, ArithmeticError), end)
    step.submit(at(0, 0))
    with pytest.raises(InvalidMessage) as caught:
        step.submit(at(1, 1))
    assert not caught.value.needs_commit
    step.submit(at(2, 2))
    assert end.payloads == [0, 2]
    assert [dict(message.committable) for message in end.messages] == [{P0: 1}, {P0: 2}, {P0: 3}]


def test_a_hand_written_step_that_reports_an_earlier_message_is_offered_the_present_one_again() -> None:
    class Reporting(Recorder):
        earlier = InvalidMessage(P0, 0, needs_commit=False)
        reported = False

        def takes(self, message: Message[Any]) -> bool:
            if message.payload == 1 and not self.reported:
                self.reported = True
                raise self.earlier
            return True

    end = Reporting()
    step = RunTask(raising_at(-1, ArithmeticError), end)
    step.submit(at(1, 1))
    with pytest.raises(InvalidMessage):
        step.poll()
    step.poll()
    assert end.payloads == [1]


def test_one_invalid_value_of_several_does_not_move_the_offset_before_the_others_are_done() -> None:
    def function(message: Message[int]) -> int:
        if message.payload == 1:
            raise InvalidMessage(P0, 1)
        return message.payload

    end = Rejecting([False, True, True, True])
    step = Unfold(halves, RunTask(function, end))
    step.submit(at(0, 0))
    for _ in range(4):
        step.poll()
    with pytest.raises(InvalidMessage):
        step.submit(at(1, 1))
    step.poll()
    assert end.payloads == [0, 100, 101]
    assert end.committed == {P0: 2}


def test_an_invalid_message_for_part_of_a_group_stops_instead_of_passing_over_the_rest() -> None:
    def function(message: Message[Any]) -> Any:
        raise InvalidMessage(P0, 0)

    end = Recorder()
    step = BatchStep[int](2, 10.0, RunTask(function, end))
    step.submit(at(0, 0))
    with pytest.raises(FlowError, match=r"names orders\[0\] offset 0, but was raised for a message that stands for"):
        step.submit(at(1, 1))
    step.join(1.0)
    assert end.committed == {}


def test_an_invalid_message_met_in_join_is_raised_once_everything_else_is_done() -> None:
    end = Recorder()
    valve = Valve(RunTask(invalid_at(0), end))
    step = RunTask(raising_at(-1, ArithmeticError), FilterStep[int](lambda _: True, valve))
    step.submit(at(0, 0))
    step.submit(at(1, 1))
    valve.open = True
    step.close()
    with pytest.raises(InvalidMessage):
        step.join(1.0)
    assert end.payloads == [1]
    assert end.committed == {P0: 2}
    step.join(1.0)


def test_a_downstream_that_rejects_in_poll_is_named() -> None:
    class Broken(Recorder):
        def poll(self) -> None:
            raise MessageRejected

    step = RunTask(raising_at(-1, ArithmeticError), Broken())
    with pytest.raises(RuntimeError, match="raised MessageRejected from poll or join"):
        step.poll()
