"""What slow work costs: 2 ms of I/O at 64 in flight, functions that do nothing, and one slow record among fast keys.

Run it with: python benchmarks/slow.py [rounds]. A round takes about 5 s. Figures are medians over the rounds; each
contender of a round runs right after the other. The limit of the first table is 64 calls in 2 ms; beside the wall clock
stands the time of the processor, all threads together.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any

from flowdsl import from_iterable, map_, sink

try:
    import arroyo.processing as their_processing  # type: ignore[import-not-found,import-untyped,unused-ignore]  # in the extra "bench"
    import arroyo.processing.strategies as theirs  # type: ignore[import-not-found,import-untyped,unused-ignore]  # as above
    import arroyo.types as their_types  # type: ignore[import-not-found,import-untyped,unused-ignore]  # as above
    from arroyo.commit import ONCE_PER_SECOND  # type: ignore[import-not-found,import-untyped,unused-ignore]  # as above
    from arroyo.processing.strategies.abstract import MessageRejected  # type: ignore[import-not-found,import-untyped,unused-ignore]  # as above
    from arroyo.processing.strategies.noop import Noop  # type: ignore[import-not-found,import-untyped,unused-ignore]  # as above
    from arroyo.processing.strategies.run_task_in_threads import RunTaskInThreads  # type: ignore[import-not-found,import-untyped,unused-ignore]  # as above
except ImportError:
    their_types = None

IN_FLIGHT, SECONDS = 64, 0.002
RECORDS, QUICK = 6_000, 20_000
LIMIT = IN_FLIGHT / SECONDS


def wait(n: int) -> int:
    sleep(SECONDS)
    return n


async def wait_async(n: int) -> int:
    await asyncio.sleep(SECONDS)
    return n


def nothing(n: int) -> int:
    return n


async def nothing_async(n: int) -> int:
    return n


def through_a_flow(function: Callable[[int], Any], count: int, **given: Any) -> float:
    """Records a second."""
    flow = from_iterable(range(count)) | map_(function, **given) | sink(nothing)
    began = perf_counter()
    flow.run()
    return count / (perf_counter() - began)


def through_an_executor(function: Callable[[int], Any], count: int) -> float:
    """What one would write by hand: a future for each record, in order."""
    began = perf_counter()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for _ in pool.map(function, range(count)):
            pass
    return count / (perf_counter() - began)


def through_a_semaphore(function: Callable[[int], Any], count: int) -> float:
    """The same for coroutines: a task for each record, at most so many at once."""

    async def main() -> None:
        free = asyncio.Semaphore(IN_FLIGHT)

        async def one(n: int) -> Any:
            async with free:
                return await function(n)

        for task in [asyncio.ensure_future(one(n)) for n in range(count)]:
            await task

    began = perf_counter()
    asyncio.run(main())
    return count / (perf_counter() - began)


def through_arroyo(function: Callable[[int], Any], count: int) -> float:
    """Its threads, driven as its loop does it: poll, submit, and sleep 10 ms on a rejection."""
    place, now = their_types.Partition(their_types.Topic("numbers"), 0), datetime.now(UTC)
    values = (their_types.BrokerValue(n, place, n, now) for n in range(count))
    step = RunTaskInThreads(lambda message: function(message.payload), IN_FLIGHT, 1_000, Noop())
    began = perf_counter()
    for message in map(their_types.Message, values):
        step.poll()
        while True:
            try:
                step.submit(message)
                break
            except MessageRejected:
                sleep(0.01)
                step.poll()
    step.close()
    step.join()
    return count / (perf_counter() - began)


class Ready:
    """A consumer for arroyo's loop whose records are there already."""

    member_id, closed = "one", False

    def __init__(self, count: int) -> None:
        self._count, self._at = count, 0
        self._place, self._now = their_types.Partition(their_types.Topic("numbers"), 0), datetime.now(UTC)

    def subscribe(self, topics: Any, on_assign: Callable[[Any], None], on_revoke: Any) -> None:
        self._assigned: Callable[[Any], None] | None = on_assign

    def poll(self, timeout: float | None = None) -> Any:
        if self._assigned is not None:
            assigned, self._assigned = self._assigned, None
            assigned({self._place: 0})
        if self._at == self._count:
            return None
        self._at += 1
        return their_types.BrokerValue(self._at - 1, self._place, self._at - 1, self._now)

    def tell(self) -> Any:
        return {self._place: self._at}

    def nothing(self, *_: object) -> None:
        """Nothing is paused, committed or left."""

    pause = resume = stage_offsets = commit_offsets = close = nothing


class InThreads:
    """A factory for arroyo's loop: its threads, as many futures as its documentation has, a count, and commits."""

    def __init__(self, function: Callable[[int], Any], count: int) -> None:
        self._function, self._left = function, count
        self.processor: Any = None

    def create_with_partitions(self, commit: Any, _: Any) -> Any:
        counting = theirs.RunTask(self._counted, theirs.CommitOffsets(commit))
        return RunTaskInThreads(lambda message: self._function(message.payload), IN_FLIGHT, 1_000, counting)

    def shutdown(self) -> None:
        """Nothing to do."""

    def _counted(self, message: Any) -> Any:
        self._left -= 1
        if not self._left:
            self.processor.signal_shutdown()
        return message.payload


def through_their_processor(function: Callable[[int], Any], count: int) -> float:
    """Its threads in its own loop, which polls a consumer for one record at a time."""
    factory = InThreads(function, count)
    consumer = Ready(count)
    topic = their_types.Topic("numbers")
    factory.processor = their_processing.StreamProcessor(consumer, topic, factory, ONCE_PER_SECOND)
    began = perf_counter()
    factory.processor.run()
    return count / (perf_counter() - began)


def with_a_slow_record(slow: float) -> float:
    """Records a second of the other keys, arriving at 2,000 a second for 4 s, while one takes so many seconds."""
    last = 0.0

    def work(n: int) -> int:
        sleep(slow if n == 100 else 0.001)
        return n

    def arriving() -> Any:
        began = perf_counter()
        for n in range(8_000):
            late = n / 2_000 - (perf_counter() - began)
            if late > 0:
                sleep(late)
            yield n

    def note(n: int) -> None:
        nonlocal last
        if n != 100:
            last = perf_counter()

    flow = from_iterable(arriving) | map_(work, concurrency=16, key=nothing) | sink(note)
    began = perf_counter()
    flow.run()
    return 8_000 / (last - began)


CONTENDERS: dict[str, Callable[[], float]] = {
    "2 ms, 64 threads": lambda: through_a_flow(wait, RECORDS, concurrency=IN_FLIGHT),
    "2 ms, ThreadPoolExecutor.map by hand": lambda: through_an_executor(wait, RECORDS),
    "2 ms, 64 coroutines": lambda: through_a_flow(wait_async, RECORDS, concurrency=IN_FLIGHT),
    "2 ms, a task each and a semaphore by hand": lambda: through_a_semaphore(wait_async, RECORDS),
    "2 ms, 64 threads, as ready": lambda: through_a_flow(wait, RECORDS, concurrency=IN_FLIGHT, ordered=False),
    "nothing, 4 threads": lambda: through_a_flow(nothing, QUICK, concurrency=4),
    "nothing, 64 coroutines": lambda: through_a_flow(nothing_async, QUICK, concurrency=IN_FLIGHT),
}
if their_types is not None:
    CONTENDERS["2 ms, arroyo's RunTaskInThreads, driven barely"] = lambda: through_arroyo(wait, RECORDS)
    CONTENDERS["2 ms, the same in arroyo's StreamProcessor"] = lambda: through_their_processor(wait, RECORDS)


def main(rounds: int) -> None:
    figures: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    used: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, run in CONTENDERS.items():
            before = process_time()
            figures[name].append(run())
            used[name].append((process_time() - before) / (RECORDS if name.startswith("2 ms") else QUICK))
    shares = [with_a_slow_record(2.0) / with_a_slow_record(0.001) for _ in range(max(1, rounds // 5))]
    for name, rates in figures.items():
        rate = median(rates)
        of_limit = f"{rate / LIMIT:5.2f} of the limit" if name.startswith("2 ms") else ""
        cpu = 1e6 * median(used[name])
        print(f"{name:<45} {rate:>9,.0f}/s {1e6 / rate:>6.1f} us each, {cpu:>5.1f} of a processor  {of_limit}")
    if their_types is not None:
        for name, rates in figures.items():
            if "arroyo" in name:
                pairs = zip(figures["2 ms, 64 threads"], rates, strict=True)
                print(
                    f"64 threads: {median(our / their for our, their in pairs):.2f} times {name.removeprefix('2 ms, ')}"
                )
    print(f"a record of 2 s among other keys: their throughput is {median(shares):.2f} of what it is without")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
