"""A function that computes, on two processes: flows, a chunked ProcessPoolExecutor, and arroyo's RunTaskWithMultiprocessing.

What is timed lies between an early and the last result, so that it is not the start of processes. Contenders take turns; ratios are medians over
pairs of runs that follow each other. ``python benchmarks/processes.py [PAIRS [RECORDS]]``.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from statistics import median
from typing import Any

from flowdsl import from_iterable, map_, processes, sink
from flowdsl.strategies import (
    BrokerValue,
    Message,
    MessageRejected,
    MultiprocessingPool,
    Noop,
    Partition,
    RunTask,
    RunTaskWithMultiprocessing,
    Topic,
)

try:
    import arroyo.processing.strategies as theirs  # type: ignore[import-not-found,import-untyped,unused-ignore]  # in the extra "bench"
    import arroyo.types as their_types  # type: ignore[import-not-found,import-untyped,unused-ignore]  # as above
    from arroyo.processing.strategies.noop import Noop as TheirNoop  # type: ignore[import-not-found,import-untyped,unused-ignore]  # as above
    from arroyo.processing.strategies.run_task_with_multiprocessing import MultiprocessingPool as TheirPool  # type: ignore[import-not-found,import-untyped,unused-ignore]  # as above
except ImportError:
    theirs = None

SIZE = 2
CHUNK, CHUNKS_IN_FLIGHT = 500, 4
ROUNDS = 700
"""Turns of the loop in ``work``: together about 75 us."""
REJECTED_SECONDS = 0.01
"""What arroyo's loop sleeps when a message is rejected."""

Order = dict[str, Any]


def work(order: Order) -> Order:
    """Plain Python; nothing that lets another thread run."""
    score = 0
    for turn in range(ROUNDS):
        score = (score * 31 + turn) % 1_000_003
    return {**order, "score": score}


def order(n: int) -> Order:
    return {"id": n, "customer": f"customer-{n % 1000}", "amount": n * 0.5, "paid": n % 2 == 0}


def work_on_chunk(orders: list[Order]) -> list[Order]:
    return [work(each) for each in orders]


def work_on_message(message: Any) -> Order:
    return work(message.payload)


class Watch:
    """Notes when an early and the last of so many results arrived."""

    def __init__(self, records: int) -> None:
        self._early, self._last = records // 10, records
        self._count = 0
        self._began = self._ended = 0.0

    def __call__(self, _: object) -> None:
        self._count += 1
        if self._count == self._early:
            self._began = time.perf_counter()
        elif self._count == self._last:
            self._ended = time.perf_counter()

    def rate(self) -> float:
        """Records in a second."""
        assert self._count == self._last
        return (self._last - self._early) / (self._ended - self._began)


def by_flow(orders: list[Order]) -> float:
    watch = Watch(len(orders))
    (from_iterable(orders) | map_(work, scheduler=processes(SIZE)) | sink(watch)).run()
    return watch.rate()


def by_executor(orders: list[Order]) -> float:
    watch = Watch(len(orders))
    under_way: deque[Future[list[Order]]] = deque()
    with ProcessPoolExecutor(SIZE, mp_context=get_context("spawn")) as pool:
        for start in range(0, len(orders), CHUNK):
            under_way.append(pool.submit(work_on_chunk, orders[start : start + CHUNK]))
            if len(under_way) == CHUNKS_IN_FLIGHT:
                for each in under_way.popleft().result():
                    watch(each)
        while under_way:
            for each in under_way.popleft().result():
                watch(each)
    return watch.rate()


def driven(step: Any, messages: Iterator[Any], rejected: type[Exception]) -> None:
    """As a loop does it: poll, submit, and sleep on a rejection."""
    for message in messages:
        step.poll()
        while True:
            try:
                step.submit(message)
            except rejected:
                time.sleep(REJECTED_SECONDS)
                step.poll()
            else:
                break
    step.close()
    step.join()


def by_hand(orders: list[Order]) -> float:
    watch, pool = Watch(len(orders)), MultiprocessingPool(SIZE)
    end: RunTask[Any, Any] = RunTask(watch, Noop())
    step = RunTaskWithMultiprocessing(work_on_message, end, 1_000, 1.0, pool)
    place, now = Partition(Topic("orders"), 0), datetime.now(UTC)
    messages = (Message(BrokerValue(each, place, n, now)) for n, each in enumerate(orders))
    driven(step, messages, MessageRejected)
    pool.close()
    return watch.rate()


def by_arroyo(orders: list[Order]) -> float:
    watch, pool = Watch(len(orders)), TheirPool(SIZE)
    end = theirs.RunTask(watch, TheirNoop())
    step = theirs.RunTaskWithMultiprocessing(work_on_message, end, 1_000, 1.0, pool)
    place, now = their_types.Partition(their_types.Topic("orders"), 0), datetime.now(UTC)
    messages = (their_types.Message(their_types.BrokerValue(each, place, n, now)) for n, each in enumerate(orders))
    driven(step, messages, theirs.MessageRejected)
    pool.close()
    return watch.rate()


def main(pairs: int = 15, records: int = 30_000) -> None:
    orders = [order(n) for n in range(records)]
    contenders: dict[str, Callable[[list[Order]], float]] = {
        "flow": by_flow,
        "executor": by_executor,
        "by hand": by_hand,
    }
    if theirs is not None:
        contenders["arroyo"] = by_arroyo
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(pairs):
        for name in list(contenders) if turn % 2 else list(reversed(contenders)):
            rates[name].append(contenders[name](orders))
    print(f"{records:,} records of about 75 us on {SIZE} processes, {pairs} rounds, Python {sys.version.split()[0]}")
    for name, found in rates.items():
        print(f"{name:9} {median(found) / 1000:6.1f} k/s ({min(found) / 1000:.1f} to {max(found) / 1000:.1f})")
    for one, other, wanted in (("flow", "executor", 0.9), ("flow", "arroyo", 1.7), ("by hand", "arroyo", 1.7)):
        if other in rates:
            ratios = [a / b for a, b in zip(rates[one], rates[other], strict=True)]
            print(f"{one} / {other}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), wanted {wanted}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
