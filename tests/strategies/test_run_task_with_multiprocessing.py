"""RunTaskWithMultiprocessing: calls run on processes, results leave in order, workers that die are replaced."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from flowdsl.errors import FlowError, InvalidMessage, WorkerDied
from flowdsl.strategies import (
    BrokerValue,
    Message,
    MessageRejected,
    MultiprocessingPool,
    RunTaskWithMultiprocessing,
    Value,
)
from tests.pool.killing import Killer
from tests.strategies.doubles import P0, P1, Recorder, Rejecting, at, filtered
from tests.strategies.waiting import PATIENCE, poll_until, wait_until


@pytest.fixture(name="pool")
def _pool() -> Iterator[MultiprocessingPool]:
    pool = MultiprocessingPool(2)
    yield pool
    pool.close(PATIENCE)


def put(step: RunTaskWithMultiprocessing[Any, Any], numbers: range) -> None:
    for n in numbers:
        while True:
            try:
                step.submit(at(n, n))
                break
            except MessageRejected:
                step.poll()
                sleep(0.001)


def test_results_leave_in_order_whatever_downstream_rejects(pool: MultiprocessingPool) -> None:
    end = Rejecting([True, False, False] * 100)
    step = RunTaskWithMultiprocessing[int, int](lambda message: message.payload * 2, end, 10, 1.0, pool)
    put(step, range(300))
    step.close()
    step.join(PATIENCE)
    assert end.payloads == [2 * n for n in range(300)]
    assert end.committed == {P0: 300}


def test_a_function_sees_the_message_as_it_was(pool: MultiprocessingPool) -> None:
    messages: list[Message[Any]] = [
        Message(BrokerValue(b"x", P1, 7, datetime(2026, 1, 1, tzinfo=UTC))),
        Message(Value([1, 2], {P0: 3, P1: 9})),
    ]
    end = Recorder()
    step = RunTaskWithMultiprocessing[Any, Any](lambda message: message, end, 10, 1.0, pool)
    for message in messages:
        step.submit(message)
    step.join(PATIENCE)
    assert end.payloads == messages
    assert end.committed == {P0: 3, P1: 9}


def test_filtered_messages_keep_their_place(pool: MultiprocessingPool) -> None:
    end = Recorder()
    step = RunTaskWithMultiprocessing[int, int](lambda message: message.payload, end, 10, 1.0, pool)
    step.submit(at(0, 0))
    step.submit(filtered(1))
    step.submit(at(2, 2))
    step.join(PATIENCE)
    assert [dict(message.committable) for message in end.messages] == [{P0: 1}, {P0: 2}, {P0: 3}]


def test_what_does_not_fit_is_rejected(pool: MultiprocessingPool) -> None:
    step = RunTaskWithMultiprocessing[int, None](lambda _: sleep(1_000), Recorder(), 3, 1.0, pool)
    for n in range(3 * 2 * 2):
        step.submit(at(n, n))
    with pytest.raises(MessageRejected):
        step.submit(at(99, 99))
    step.terminate()


def test_it_works_from_a_thread_that_is_not_main() -> None:
    end = Recorder()

    def drive() -> None:
        pool = MultiprocessingPool(1)
        step = RunTaskWithMultiprocessing[int, int](lambda message: message.payload, end, 10, 1.0, pool)
        put(step, range(10))
        step.join(PATIENCE)
        pool.close(PATIENCE)

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join()
    assert end.payloads == list(range(10))


def test_an_invalid_message_inside_a_task_moves_its_offset(pool: MultiprocessingPool) -> None:
    def check(message: Message[int]) -> int:
        if message.payload == 1:
            raise InvalidMessage.from_value(message, reason="odd")
        return message.payload

    end = Recorder()
    step = RunTaskWithMultiprocessing(check, end, 10, 1.0, pool)
    put(step, range(3))
    (caught,) = poll_until(step, lambda: len(end.messages) == 3)
    step.join(PATIENCE)
    assert (caught.offset, caught.reason, caught.needs_commit) == (1, "odd", False)
    assert end.payloads == [0, 2]


def test_an_error_surfaces_at_its_position_with_the_traceback_of_the_worker(pool: MultiprocessingPool) -> None:
    def invert(message: Message[int]) -> float:
        return 1 / (message.payload - 3)

    end = Recorder()
    step = RunTaskWithMultiprocessing(invert, end, 10, 1.0, pool)
    with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012  # from submit or poll, whichever finds it
        put(step, range(6))
        poll_until(step, lambda: False)
    assert ", in invert" in str(caught.value.__cause__)
    assert len(end.payloads) == 3
    assert end.committed == {P0: 3}
    step.terminate()


def test_an_initializer_runs_in_each_worker(tmp_path: Path) -> None:
    def note() -> None:
        (tmp_path / str(os.getpid())).touch()

    pool = MultiprocessingPool(2, note)
    step = RunTaskWithMultiprocessing[int, str](str, Recorder(), 10, 1.0, pool)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    step.terminate()
    pool.close(PATIENCE)


def test_a_function_that_cannot_be_pickled_is_refused_at_once(pool: MultiprocessingPool) -> None:
    lock = threading.Lock()

    def locked(message: Message[int]) -> int:
        with lock:
            return message.payload

    with pytest.raises(TypeError, match=r"locked \(.*\.py:\d+\) cannot be sent .* the variable 'lock'"):
        RunTaskWithMultiprocessing(locked, Recorder(), 10, 1.0, pool)


def test_a_worker_that_is_killed_under_load_is_replaced_and_nothing_is_missing(pool: MultiprocessingPool) -> None:
    def slow(message: Message[int]) -> int:
        sleep(0.002)
        return message.payload

    end = Recorder()
    step = RunTaskWithMultiprocessing(slow, end, 20, 1.0, pool)
    killer = Killer(lambda: pool.pids)
    put(step, range(60))
    killer.kill()
    put(step, range(60, 300))
    killer.kill()
    step.join(PATIENCE)
    assert end.payloads == list(range(300))


def test_a_function_that_ends_its_process_is_an_error_that_says_so(pool: MultiprocessingPool) -> None:
    end = Recorder()
    step = RunTaskWithMultiprocessing[int, None](lambda _: os._exit(5), end, 10, 1.0, pool)
    step.submit(at(0, "the value"))
    with pytest.raises(WorkerDied, match=r"exit code 5 .* \('the value'"):
        poll_until(step, lambda: False)
    assert end.committed == {}
    step.terminate()


def test_a_pool_that_somebody_closes_is_an_error_and_the_next_strategy_gets_new_workers(
    pool: MultiprocessingPool,
) -> None:
    step = RunTaskWithMultiprocessing[int, None](lambda _: sleep(0.1), Recorder(), 10, 1.0, pool)
    for n in range(20):
        step.submit(at(n, n))
    pool.close(PATIENCE)
    with pytest.raises(FlowError, match="closed"):
        poll_until(step, lambda: False)
    end = Recorder()
    again = RunTaskWithMultiprocessing[int, int](lambda message: message.payload, end, 10, 1.0, pool)
    put(again, range(5))
    again.join(PATIENCE)
    assert end.payloads == list(range(5))


def test_join_ends_by_its_deadline_and_the_pool_is_free_for_the_next_assignment(pool: MultiprocessingPool) -> None:
    end = Recorder()
    step = RunTaskWithMultiprocessing[int, None](lambda _: sleep(1_000), end, 10, 1.0, pool)
    put(step, range(5))
    before = monotonic()
    step.close()
    step.join(0.2)
    assert monotonic() - before < PATIENCE / 2
    assert end.committed == {}
    end = Recorder()
    again = RunTaskWithMultiprocessing[int, int](lambda message: message.payload, end, 10, 1.0, pool)
    put(again, range(5))
    again.join(PATIENCE)
    assert end.payloads == list(range(5))


def test_arguments_that_steered_shared_memory_change_nothing(pool: MultiprocessingPool) -> None:
    end = Recorder()
    step = RunTaskWithMultiprocessing[int, int](
        lambda message: message.payload,
        end,
        max_batch_size=10,
        max_batch_time=1.0,
        pool=pool,
        input_block_size=4096,
        output_block_size=4096,
        max_input_block_size=8192,
        max_output_block_size=8192,
        prefetch_batches=True,
    )
    step.submit(at(0, 0))
    step.join(PATIENCE)
    assert end.payloads == [0]


def test_numbers_that_make_no_sense_are_refused(pool: MultiprocessingPool) -> None:
    with pytest.raises(ValueError, match="max_batch_size must be at least 1, but is 0"):
        RunTaskWithMultiprocessing(str, Recorder(), 0, 1.0, pool)
    with pytest.raises(ValueError, match=r"max_batch_time must not be negative, but is -1\.0"):
        RunTaskWithMultiprocessing(str, Recorder(), 1, -1.0, pool)
    with pytest.raises(ValueError, match="num_processes must be at least 1, but is 0"):
        MultiprocessingPool(0)
    wrong: Any = 4
    with pytest.raises(TypeError, match="pool must be a MultiprocessingPool, not 4"):
        RunTaskWithMultiprocessing(str, Recorder(), 1, 1.0, wrong)
    with pytest.raises(TypeError, match="function must be a function, not 4"):
        RunTaskWithMultiprocessing(wrong, Recorder(), 1, 1.0, pool)
