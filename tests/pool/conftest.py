"""Pools for tests, closed at their end; nothing of them may be left behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from time import monotonic, sleep

import pytest

from flowdsl.pool.pool import Pool
from tests.pool.errands import PATIENCE


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that ended and was not reaped by its parent has too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123  # what is read is no file
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return not os.path.exists(f"/proc/{pid}") and os.path.exists("/proc/self")  # noqa: PTH110  # as above


def wait_until(happened: Callable[[], bool]) -> None:
    until = monotonic() + PATIENCE
    while not happened():
        assert monotonic() < until, "it did not happen"
        sleep(0.01)


@pytest.fixture(name="make_pool")
def _make_pool() -> Iterator[Callable[..., Pool]]:
    files = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()  # noqa: PTH112, PTH208  # as above
    pools: list[Pool] = []
    pids: set[int] = set()

    def make(size: int = 1, initializer: Callable[[], object] | None = None) -> Pool:
        pools.append(Pool(size, initializer))
        return pools[-1]

    yield make
    for pool in pools:
        pids.update(pool.pids)
        pool.close(PATIENCE)
    assert all(map(is_gone, pids))
    if files:
        assert set(os.listdir("/proc/self/fd")) <= files, "files were left open"  # noqa: PTH208  # as above
