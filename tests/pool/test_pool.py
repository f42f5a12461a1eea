"""Pools of processes: functions travel once, outcomes come back, and workers that die are replaced."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType
from typing import Any

import pytest

from flowdsl.errors import FlowError, WorkerDied
from flowdsl.pool.carriage import RemoteError
from flowdsl.pool.pool import Function, Pool
from tests.pool.conftest import is_gone, wait_until
from tests.pool.errands import PATIENCE, called, outcomes, sent
from tests.pool.killing import Killer

Make = Callable[..., Pool]


def double(n: int) -> int:
    return 2 * n


def test_every_value_gets_its_own_outcome(make_pool: Make) -> None:
    function = make_pool(2).function(double)
    assert called(function, range(5_000)) == [2 * n for n in range(5_000)]


def test_lambdas_closures_and_partials_travel(make_pool: Make) -> None:
    pool, offset = make_pool(), 10
    assert called(pool.function(lambda n: n + offset), [1, 2]) == [11, 12]
    assert called(pool.function(partial(max, 5)), [1, 9]) == [5, 9]


def test_several_functions_share_a_pool(make_pool: Make) -> None:
    pool = make_pool(2)
    one, other = pool.function(double), pool.function(str)
    first, second = sent(one, range(100)), sent(other, range(100))
    assert outcomes(second) == [str(n) for n in range(100)]
    assert outcomes(first) == [2 * n for n in range(100)]


def test_work_is_done_in_other_processes_and_by_all_of_them(make_pool: Make) -> None:
    pool = make_pool(2)

    def pid(_: int) -> int:
        sleep(0.02)
        return os.getpid()

    function, seen = pool.function(pid), set[int]()

    def all_have_worked() -> bool:
        seen.update(called(function, range(20)))  # one that starts late may find no work the first time
        return seen == set(pool.pids)

    wait_until(all_have_worked)


def test_a_pool_works_from_a_thread_that_is_not_main(make_pool: Make) -> None:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.extend(called(make_pool().function(double), [1, 2])))
    thread.start()
    thread.join()
    assert results == [2, 4]


# -- what goes wrong in functions and values --------------------------------------------------------------------------


class Awkward(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Unloadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse_to_load, (os.getpid(),)


def _refuse_to_load(made_by: int) -> None:
    if made_by != os.getpid():
        raise ValueError("not here")


def test_threads_that_begin_at_once_share_the_workers_of_a_pool(make_pool: Make) -> None:
    pool, together, functions = make_pool(1), threading.Barrier(6), list[Function]()

    def begin() -> None:
        together.wait(PATIENCE)
        functions.append(pool.function(lambda _: os.getpid()))

    threads = [threading.Thread(target=begin) for _ in range(6)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # what is not divided by a lock is divided by the interpreter
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert [called(function, [None]) for function in functions] == [pool.pids] * 6


def test_an_exception_comes_back_with_its_type_and_traceback(make_pool: Make) -> None:
    def fail(n: int) -> float:
        return 1 / n

    results = called(make_pool().function(fail), [1, 0, 2])
    assert results[::2] == [1.0, 0.5]
    assert isinstance(results[1], ZeroDivisionError)
    assert ", in fail" in str(results[1].__cause__)


def test_an_exception_that_cannot_be_pickled_is_told(make_pool: Make) -> None:
    def fail(n: int) -> None:
        raise Awkward(n, n)

    (error,) = called(make_pool().function(fail), [3])
    assert isinstance(error, RemoteError)
    assert "Awkward: 3 and 3" in str(error)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, StopIteration, GeneratorExit])
def test_whatever_is_raised_belongs_to_its_value(make_pool: Make, kind: type[BaseException]) -> None:
    def fail(n: int) -> int:
        if n == 1:
            raise kind
        return n

    results = called(make_pool().function(fail), [0, 1, 2])
    assert results[::2] == [0, 2]
    assert isinstance(results[1], kind)


def test_what_cannot_be_pickled_fails_by_itself(make_pool: Make) -> None:
    def give(n: Any) -> Any:
        return threading.Lock() if n == 1 else n

    results = called(make_pool().function(give), [0, 1, threading.Lock(), 3])
    assert results[::3] == [0, 3]
    assert "the function's result cannot be sent back: cannot pickle '_thread.lock'" in str(results[1])
    assert "the value cannot be sent to a worker process: TypeError: cannot pickle '_thread.lock'" in str(results[2])


def test_what_cannot_be_unpickled_fails_by_itself_on_either_side(make_pool: Make) -> None:
    def give(n: Any) -> Any:
        return Unloadable() if n == 7 else n

    results = called(make_pool().function(give), [*range(9), Unloadable(), 10])
    assert [n for n in results if isinstance(n, int)] == [0, 1, 2, 3, 4, 5, 6, 8, 10]
    assert "the function's result cannot be unpickled: ValueError: not here" in str(results[7])
    assert "the value cannot be unpickled: ValueError: not here" in str(results[9])


# -- what is refused at the start -------------------------------------------------------------------------------------


class Holder:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def use(self, n: int) -> int:
        with self.lock:
            return n


def test_a_function_that_cannot_travel_is_refused_naming_what_and_where(make_pool: Make) -> None:
    lock = threading.Lock()

    def locked(n: int) -> int:
        with lock:
            return n

    with pytest.raises(TypeError, match=r"locked \(.*test_pool\.py:\d+\) .* the variable 'lock' that it closes over"):
        make_pool().function(locked)
    with pytest.raises(TypeError, match=r"use .* the object that it is bound to, the attribute 'lock', TypeError"):
        make_pool().function(Holder().use)
    with pytest.raises(TypeError, match=r"its argument 'errors', the item 'a', TypeError"):
        make_pool().function(partial(dict, errors={"a": lock}))


def test_a_function_of_a_module_that_workers_cannot_import_travels_with_it(make_pool: Make) -> None:
    module = ModuleType("made_up_here")
    exec("OFFSET = 5\ndef shift(n):\n    return n + OFFSET", module.__dict__)  # noqa: S102  # a module without a file
    sys.modules[module.__name__] = module
    try:
        assert called(make_pool().function(module.shift), [1]) == [6]
    finally:
        del sys.modules[module.__name__]


def test_an_initializer_runs_once_in_each_worker(make_pool: Make, tmp_path: Path) -> None:
    def note() -> None:
        (tmp_path / str(os.getpid())).touch(exist_ok=False)

    pool = make_pool(2, note)
    pool.function(double)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    assert {path.name for path in tmp_path.iterdir()} == {str(pid) for pid in pool.pids}


def test_an_initializer_that_raises_is_raised_at_the_start(make_pool: Make) -> None:
    def fail() -> None:
        raise ArithmeticError("no model")

    with pytest.raises(ArithmeticError, match="no model"):
        make_pool(2, fail).function(double)


# -- resources --------------------------------------------------------------------------------------------------------


def test_a_context_is_entered_once_per_worker_and_left_at_the_end(make_pool: Make, tmp_path: Path) -> None:
    @contextmanager
    def opened() -> Iterator[Callable[[int], int]]:
        path = tmp_path / str(os.getpid())
        path.write_text("open")
        yield double
        path.write_text("closed")

    pool = make_pool(2)
    function = pool.function(opened, is_context=True)
    assert called(function, range(50)) == [2 * n for n in range(50)]
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    pool.close(30.0)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["closed", "closed"]


def test_what_leaving_a_context_raises_is_raised_by_close(make_pool: Make) -> None:
    @contextmanager
    def opened() -> Iterator[Callable[[int], int]]:
        yield double
        raise ArithmeticError("cannot close")

    pool = make_pool()
    pool.function(opened, is_context=True)
    with pytest.raises(ArithmeticError, match="cannot close"):
        pool.close(30.0)


def test_a_context_that_cannot_be_entered_is_refused_at_the_start(make_pool: Make) -> None:
    @contextmanager
    def opened() -> Iterator[Callable[[int], int]]:
        raise ArithmeticError("no connection")
        yield

    with pytest.raises(ArithmeticError, match="no connection"):
        make_pool().function(opened, is_context=True)


# -- workers that die -------------------------------------------------------------------------------------------------


def test_a_value_on_which_workers_die_fails_and_the_others_are_done(make_pool: Make) -> None:
    def deadly(n: int) -> int:
        if n == 30:
            os._exit(7)
        return n

    results = called(make_pool(2).function(deadly), range(100))
    assert [n for n in results if isinstance(n, int)] == [n for n in range(100) if n != 30]
    assert isinstance(results[30], WorkerDied)
    assert "ended with exit code 7" in str(results[30])
    assert "the value is 30" in str(results[30])


def test_workers_that_are_killed_under_load_are_replaced_and_nothing_is_missing(make_pool: Make) -> None:
    def slow(n: int) -> int:
        sleep(0.002)
        return n

    pool = make_pool(2)
    parcels = sent(pool.function(slow), range(600))
    killer = Killer(lambda: pool.pids)
    for done in (100, 200, 300):
        wait_until(lambda done=done: sum(parcel.arrived.is_set() for parcel in parcels) >= done)  # type: ignore[misc]  # of a loop that waits
        killer.kill()
    assert outcomes(parcels) == list(range(600))


def test_workers_that_die_before_they_do_anything_are_an_error_in_the_end(make_pool: Make) -> None:
    def die() -> None:
        os._exit(3)

    with pytest.raises(WorkerDied, match=r"5 worker processes ended .* exit code 3"):
        make_pool(1, die).function(double)


def test_a_worker_that_exceeds_its_time_is_killed_and_the_rest_of_its_batch_is_done(make_pool: Make) -> None:
    def maybe_slow(n: int) -> int:
        if n == 50:
            sleep(1_000)
        return n

    function = make_pool().function(maybe_slow)
    parcels = sent(function, range(100))
    stuck = parcels[50]

    def has_begun() -> bool:
        function.look()
        return stuck.began is not None and monotonic() - stuck.began > 0.3

    wait_until(has_begun)
    stuck.abandoned = True
    function.stop_abandoned()
    assert outcomes([parcel for parcel in parcels if parcel is not stuck]) == [n for n in range(100) if n != 50]
    assert not stuck.arrived.is_set()


def test_workers_ignore_sigint(make_pool: Make) -> None:
    pool = make_pool()
    function = pool.function(double)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGINT)
    assert called(function, [1]) == [2]
    assert pool.pids == [pid]


def test_what_is_done_comes_back_while_the_rest_of_a_batch_takes_longer_than_it_should(make_pool: Make) -> None:
    def slower_and_slower(n: int) -> int:
        sleep(0.1 if n >= 1_000 else 0)
        return n

    function = make_pool().function(slower_and_slower)
    called(function, range(1_000))
    parcels = sent(function, range(1_000, 1_040))
    assert outcomes(parcels[:1]) == [1_000]
    assert not parcels[-1].arrived.is_set()
    assert outcomes(parcels) == list(range(1_000, 1_040))


# -- the end ----------------------------------------------------------------------------------------------------------


def test_that_somebody_closed_the_pool_is_an_error_of_the_function_and_no_outcome(make_pool: Make) -> None:
    def slow(n: int) -> int:
        sleep(0.1)
        return n

    pool = make_pool()
    function = pool.function(slow)
    parcels = sent(function, range(100))
    assert outcomes(parcels[:1]) == [0]
    pool.close(30.0)
    assert parcels[-1].outcome is None
    assert isinstance(function.error, WorkerDied)
    with pytest.raises(FlowError, match="closed"):
        pool.function(double)


def test_close_kills_what_does_not_end_in_time(make_pool: Make) -> None:
    pool = make_pool(2)
    sent(pool.function(lambda _: sleep(1_000)), [1, 2])
    pids = pool.pids
    pool.close(0.2)
    assert all(map(is_gone, pids))


def test_terminate_does_not_wait_for_a_function(make_pool: Make) -> None:
    pool = make_pool(2)
    function = pool.function(lambda _: sleep(1_000))
    parcels = sent(function, [1, 2])
    pids = pool.pids
    pool.terminate()
    pool.terminate()
    wait_until(lambda: all(map(is_gone, pids)) and function.error is not None)
    assert not any(parcel.arrived.is_set() for parcel in parcels)


def test_a_pool_that_is_dropped_leaves_nothing_behind() -> None:
    pool = Pool(1)
    pool.function(double)
    pids = pool.pids
    del pool
    gc.collect()
    wait_until(lambda: all(map(is_gone, pids)))


def test_a_pool_that_was_never_used_closes() -> None:
    pool = Pool(1)
    pool.close(1.0)
    with pytest.raises(FlowError, match="closed"):
        pool.function(double)


def test_a_function_that_workers_cannot_load_is_refused(make_pool: Make) -> None:
    with pytest.raises(TypeError, match="cannot be loaded by worker processes: ValueError: not here"):
        make_pool().function(partial(max, Unloadable()))


def test_a_worker_does_not_go_on_for_long_with_what_nobody_wants(make_pool: Make) -> None:
    function = make_pool().function(sleep)
    for parcel in sent(function, [1_000] * 3):
        parcel.abandoned = True  # maybe before a worker begins with it
    assert called(function, [0]) == [None]


def test_values_and_results_larger_than_any_buffer_pass_each_other(make_pool: Make) -> None:
    function = make_pool(1).function(lambda data: data[::-1])
    values = [bytes([n]) * 2_000_000 + b"end" for n in range(8)]
    assert called(function, values) == [value[::-1] for value in values]
