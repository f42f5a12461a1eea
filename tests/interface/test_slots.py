"""SlotStep: outcomes arrive when they like, and leave in order."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flowdsl.errors import InvalidMessage
from flowdsl.interface.slots import Slot, SlotStep, Work
from flowdsl.testing.virtual import VirtualClock
from tests.strategies.doubles import P0, Blocked, Recorder, at, filtered


class Desk(SlotStep[str, str, str]):
    """The test is the worker: it finds the work here, by payload."""

    def __init__(self, end: Recorder, clock: VirtualClock | None = None) -> None:
        super().__init__(end, 8, clock=clock or VirtualClock())
        self.work: dict[str, Work[str]] = {}
        self.cancelled: list[Any] = []

    def start(self, slot: Slot[str, str], work: Work[str]) -> None:
        self.work[str(slot.message.payload)] = work

    def cancel(self, slot: Slot[str, str]) -> None:
        self.cancelled.append(slot.message.payload)


def desk(*payloads: str, end: Recorder | None = None) -> tuple[Desk, Recorder]:
    end = end or Recorder()
    step = Desk(end)
    for offset, payload in enumerate(payloads):
        step.submit(at(offset, payload))
    return step, end


def test_only_the_done_prefix_leaves() -> None:
    step, end = desk("a", "b", "c")
    step.work["b"].succeed("B")
    step.poll()
    assert end.payloads == []
    step.work["a"].succeed("A")
    step.poll()
    assert end.payloads == ["A", "B"]
    assert end.committed == {P0: 2}


def test_a_result_that_is_rejected_downstream_is_kept() -> None:
    step, end = desk("a", end=Blocked())
    step.work["a"].succeed("A")
    step.poll()
    assert isinstance(end, Blocked)
    end.open = True
    step.poll()
    assert end.payloads == ["A"]


def test_an_error_surfaces_at_its_position_and_nothing_behind_it_leaves() -> None:
    step, end = desk("a", "b", "c")
    step.work["c"].succeed("C")
    step.work["b"].fail(ArithmeticError("b"))
    step.poll()
    step.work["a"].succeed("A")
    with pytest.raises(ArithmeticError, match="b"):
        step.poll()
    step.poll()
    step.join(1.0)
    assert end.payloads == ["A"]
    assert end.committed == {P0: 1}
    with pytest.raises(RuntimeError, match="takes no more messages"):
        step.submit(at(3, "d"))


def test_an_error_waits_until_downstream_has_what_came_before() -> None:
    step, end = desk("a", "b", end=Blocked())
    step.work["a"].succeed("A")
    step.work["b"].fail(ArithmeticError())
    step.poll()
    step.poll()
    assert isinstance(end, Blocked)
    end.open = True
    with pytest.raises(ArithmeticError):
        step.poll()
    assert end.payloads == ["A"]


def test_a_worker_may_raise_timeout_error() -> None:
    step, _ = desk("a")
    step.work["a"].fail(TimeoutError("the user's own"))
    with pytest.raises(TimeoutError, match="the user's own"):
        step.poll()


def test_an_invalid_message_gives_up_its_place_to_its_offset() -> None:
    step, end = desk("a", "b", "c")
    step.work["b"].fail(InvalidMessage(P0, 1))
    step.work["c"].succeed("C")
    step.work["a"].succeed("A")
    with pytest.raises(InvalidMessage) as caught:
        step.poll()
    assert not caught.value.needs_commit
    step.poll()
    assert end.payloads == ["A", "C"]
    assert [dict(message.committable) for message in end.messages] == [{P0: 1}, {P0: 2}, {P0: 3}]


def test_an_invalid_message_that_is_found_in_submit_is_raised_from_the_next_poll() -> None:
    step, end = desk("a")
    step.work["a"].fail(InvalidMessage(P0, 0))
    step.submit(at(1, "b"))
    with pytest.raises(InvalidMessage):
        step.poll()
    step.work["b"].succeed("B")
    step.poll()
    assert end.payloads == ["B"]


def test_join_finishes_everything_and_then_raises_one_invalid_message_at_a_time() -> None:
    step, end = desk("a", "b", "c")
    for name, offset in (("a", 0), ("c", 2)):
        step.work[name].fail(InvalidMessage(P0, offset))
    step.work["b"].succeed("B")
    step.close()
    for offset in (0, 2):
        with pytest.raises(InvalidMessage) as caught:
            step.join(1.0)
        assert caught.value.offset == offset
        assert end.joined
    step.join(1.0)
    assert end.payloads == ["B"]
    assert end.committed == {P0: 3}


def test_filtered_messages_take_a_place_behind_work() -> None:
    step, end = desk("a")
    step.submit(filtered(1))
    step.poll()
    assert end.messages == []
    step.work["a"].succeed("A")
    step.poll()
    assert end.committed == {P0: 2}


def test_terminate_cancels_what_runs_and_late_outcomes_reach_nothing() -> None:
    step, end = desk("a", "b")
    step.work["b"].succeed("B")
    step.terminate()
    assert step.cancelled == ["a"]
    assert step.work["a"].abandoned
    step.work["a"].succeed("A")
    step.poll()
    step.join(0)
    assert end.messages == []


def test_a_join_that_runs_out_cancels_what_runs() -> None:
    clock, end = VirtualClock(), Recorder()
    step = Desk(end, clock)
    step.submit(at(0, "a"))
    step.join(2.0)
    assert clock() == pytest.approx(2.0)
    assert step.cancelled == ["a"]
    assert end.committed == {}


def test_outcomes_of_an_earlier_attempt_do_not_count() -> None:
    step, end = desk("a")
    first = step.work["a"]
    second = step.slots[0].again()
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.abandoned
    assert second.assignment == first.assignment
    first.succeed("late")
    step.poll()
    assert end.payloads == []
    second.succeed("A")
    first.fail(ArithmeticError())
    step.poll()
    assert end.payloads == ["A"]


def test_each_assignment_has_a_number_of_its_own() -> None:
    (one, _), (other, _) = desk("a"), desk("a")
    assert one.work["a"].assignment != other.work["a"].assignment


def test_what_was_done_when_it_came_is_not_attempted_again() -> None:
    with pytest.raises(ValueError, match="done when it came"):
        Slot[str, str](filtered(0), None).again()


def test_outcomes_may_come_from_another_thread() -> None:
    step, end = desk("a", "b")

    def answer() -> None:
        for name in ("b", "a"):
            step.work[name].succeed(name.upper())

    worker = threading.Thread(target=answer)
    worker.start()
    worker.join()
    step.poll()
    assert end.payloads == ["A", "B"]
