"""RunTaskInThreads: calls overlap, results leave in order, and no end waits for a call that does not return."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import pytest

from flowdsl.errors import InvalidMessage
from flowdsl.strategies import Message, MessageRejected, RunTaskInThreads
from tests.strategies.doubles import P0, Recorder, Rejecting, at
from tests.strategies.waiting import PATIENCE, poll_until, wait_until


@pytest.fixture(name="gate")
def _gate() -> Iterator[threading.Event]:
    """Calls wait for it; it opens at the end of the test, so that none outlives it."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_calls_overlap_and_results_leave_in_order() -> None:
    barrier = threading.Barrier(3)

    def together(message: Message[int]) -> int:
        barrier.wait(PATIENCE)
        sleep(0.01 * (3 - message.payload))
        return message.payload * 10

    end = Recorder()
    step = RunTaskInThreads(together, 3, 3, end)
    for n in range(3):
        step.submit(at(n, n))
    poll_until(step, lambda: len(end.messages) == 3)
    step.join(PATIENCE)
    assert end.payloads == [0, 10, 20]
    assert end.committed == {P0: 3}


@pytest.mark.parametrize("pending", [1, 3, 7])
def test_exactly_so_many_messages_are_taken_as_may_be_pending(gate: threading.Event, pending: int) -> None:
    step = RunTaskInThreads[int, bool](lambda _: gate.wait(PATIENCE), 2, pending, Recorder())
    for n in range(pending):
        step.submit(at(n, n))
    with pytest.raises(MessageRejected):
        step.submit(at(pending, pending))
    gate.set()
    step.join(PATIENCE)


def test_it_works_from_a_thread_that_is_not_main() -> None:
    end = Recorder()

    def drive() -> None:
        step = RunTaskInThreads[int, int](lambda message: -message.payload, 2, 4, end)
        for n in range(4):
            step.submit(at(n, n))
        step.close()
        step.join(PATIENCE)

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join()
    assert end.payloads == [0, -1, -2, -3]


def test_what_is_rejected_downstream_keeps_its_order() -> None:
    end = Rejecting([True, False] * 20)
    step = RunTaskInThreads[int, int](lambda message: message.payload, 4, 50, end)
    for n in range(20):
        step.submit(at(n, n))
    poll_until(step, lambda: len(end.messages) == 20)
    step.join(PATIENCE)
    assert end.payloads == list(range(20))


def test_an_invalid_message_inside_a_task_moves_its_offset() -> None:
    def check(message: Message[int]) -> int:
        if message.payload == 1:
            raise InvalidMessage.from_value(message, reason="odd")
        return message.payload

    end = Recorder()
    step = RunTaskInThreads(check, 2, 5, end)
    for n in range(3):
        step.submit(at(n, n))
    (caught,) = poll_until(step, lambda: len(end.messages) == 3)
    step.join(PATIENCE)
    assert (caught.offset, caught.reason, caught.needs_commit) == (1, "odd", False)
    assert end.payloads == [0, 2]
    assert end.committed == {P0: 3}


@pytest.mark.parametrize("error", [ArithmeticError("no"), TimeoutError("the user's own"), SystemExit(3)])
def test_what_a_task_raises_surfaces_at_its_position(error: BaseException) -> None:
    def fail(message: Message[int]) -> int:
        if message.payload == 1:
            raise error
        return message.payload

    end = Recorder()
    step = RunTaskInThreads(fail, 1, 5, end)
    with pytest.raises(type(error)) as caught:  # noqa: PT012  # from submit or poll, whichever finds it
        for n in range(3):
            step.submit(at(n, n))
        poll_until(step, lambda: False)
    assert caught.value is error
    step.join(PATIENCE)
    assert end.payloads == [0]
    assert end.committed == {P0: 1}


def test_join_ends_by_its_deadline_and_commits_nothing_of_what_still_runs(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    end = Recorder()
    step = RunTaskInThreads[int, bool](lambda _: gate.wait(PATIENCE), 2, 5, end)
    for n in range(3):
        step.submit(at(n, n))
    before = monotonic()
    step.close()
    step.join(0.2)
    assert monotonic() - before < PATIENCE / 2
    assert end.joined
    assert end.committed == {}
    assert "3 messages were not done; calls that still run are left behind" in caplog.text
    gate.set()
    wait_until(lambda: not any(thread.name.startswith("flowdsl-crew") for thread in threading.enumerate()))
    step.poll()
    assert end.messages == []


def test_terminate_waits_for_nothing_and_what_was_not_begun_never_is(gate: threading.Event) -> None:
    begun: list[int] = []

    def wait(message: Message[int]) -> Any:
        begun.append(message.payload)
        return gate.wait(PATIENCE)

    step = RunTaskInThreads(wait, 1, 5, Recorder())
    for n in range(5):
        step.submit(at(n, n))
    wait_until(lambda: begun == [0])
    step.terminate()
    step.terminate()
    gate.set()
    wait_until(lambda: not any(thread.name.startswith("flowdsl-crew") for thread in threading.enumerate()))
    assert begun == [0]


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (-1, 5)])
def test_numbers_below_one_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1, but is"):
        RunTaskInThreads(str, *arguments, Recorder())
