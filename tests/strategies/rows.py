"""The table of strategies that pass the contract: one row each. A new strategy is one more row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from attrs import frozen
from reactivex.scheduler import ImmediateScheduler

from flowdsl.strategies import (
    BaseValue,
    BatchStep,
    FilterStep,
    Healthcheck,
    KafkaPayload,
    Message,
    MultiprocessingPool,
    ProcessingStrategy,
    Produce,
    Reduce,
    RunTask,
    RunTaskInThreads,
    RunTaskWithMultiprocessing,
    Topic,
    UnbatchStep,
    Unfold,
    Value,
)
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import CommitPolicy
from tests.strategies.compiled import (
    branching,
    calls,
    calm,
    compiled,
    concurrent,
    in_batches,
    record,
    routed,
    scanned,
    twice,
)
from tests.strategies.doubles import Answering

Next = ProcessingStrategy[Any]
Touch = Callable[[int], None]
"""Called with the number of a message whenever user code runs for it; may raise."""


def _same(n: int) -> Any:
    return n


def _one(n: Any) -> list[int]:
    return [n]


def _at_once(_: Next) -> None:
    """It does its work in ``submit`` and ``poll``."""


@frozen
class Row:
    """``build(next_step, clock, touch)`` makes the strategy; ``payload(n)`` is the n-th thing that it takes;
    ``numbers(output)`` are the numbers that an output stands for, ``copies`` how often each comes out. ``settle`` waits,
    in real time, until work that is done elsewhere is done.
    """

    name: str
    build: Callable[[Next, VirtualClock, Touch], Next]
    payload: Callable[[int], Any] = _same
    numbers: Callable[[Any], list[int]] = _one
    copies: int = 1
    runs_user_code: bool = True
    lags: bool = False
    """Whether what was delivered is committed with the next poll only."""
    settle: Callable[[Next], None] = _at_once


def run_task(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    def function(message: Message[int]) -> int:
        touch(message.payload)
        return message.payload

    return RunTask(function, next_step, clock=clock)


def passing(policy: CommitPolicy | None) -> Callable[[Next, VirtualClock, Touch], Next]:
    def build(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
        def function(message: Message[int]) -> bool:
            touch(message.payload)
            return True

        return FilterStep(function, next_step, policy, clock=clock)

    return build


def reduce(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    def accumulator(result: tuple[int, ...], value: BaseValue[int]) -> tuple[int, ...]:
        touch(value.payload)
        return (*result, value.payload)

    return Reduce(3, 10.0, accumulator, tuple, next_step, clock=clock)


def batch(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    return BatchStep(3, 10.0, next_step, clock=clock)


def weighed_batch(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    def size(value: BaseValue[int]) -> int:
        touch(value.payload)
        return value.payload % 3

    return BatchStep(4, 10.0, next_step, size, clock=clock)


def unbatch(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    return UnbatchStep(next_step, clock=clock)


def unfold(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    def generator(n: int) -> Iterable[BaseValue[int]]:
        touch(n)
        yield Value(n, {})
        yield Value(n, {})

    return Unfold(generator, next_step, clock=clock)


def produce(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    return Produce(Answering(), Topic("out"), next_step, max_buffer_size=4, clock=clock)


def settled(strategy: Next) -> None:
    assert isinstance(strategy, RunTaskInThreads | RunTaskWithMultiprocessing)
    until = monotonic() + 60.0
    while not all(slot.is_done for slot in strategy.slots):
        assert monotonic() < until, "work elsewhere was not done"
        sleep(0.0005)


def in_threads(concurrency: int, *, touching: bool) -> Callable[[Next, VirtualClock, Touch], Next]:
    def build(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
        def function(message: Message[int]) -> int:
            if touching:
                touch(message.payload)
            return message.payload

        return RunTaskInThreads(function, concurrency, 4, next_step, clock=clock)

    return build


POOL = MultiprocessingPool(1)
"""Shared by all tests of the contract, which close it."""


def on_processes(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    def function(message: Message[int]) -> int:
        return message.payload

    return RunTaskWithMultiprocessing(function, next_step, 2, 10.0, POOL, clock=clock)


def healthcheck(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    return Healthcheck(Path("/dev/null"), next_step, clock=clock)


def chain(next_step: Next, clock: VirtualClock, touch: Touch) -> Next:
    last = UnbatchStep(next_step, clock=clock)
    return run_task(passing(None)(batch(last, clock, touch), clock, lambda _: None), clock, touch)


def _record(n: int) -> KafkaPayload:
    return KafkaPayload(None, str(n).encode())


def _of_record(payload: KafkaPayload) -> list[int]:
    return [int(payload.value or b"")]


def _of_batch(values: Iterable[BaseValue[int]]) -> list[int]:
    return [value.payload for value in values]


def _batch_of(n: int) -> list[BaseValue[int]]:
    return [Value(n, {}), Value(n, {})]


ROWS = (
    Row("RunTask", run_task),
    Row("FilterStep", passing(None)),
    Row("FilterStep thinning", passing(CommitPolicy(5.0, 3))),
    Row("Reduce", reduce, numbers=list),
    Row("BatchStep", batch, numbers=_of_batch, runs_user_code=False),
    Row("BatchStep by weight", weighed_batch, numbers=_of_batch),
    Row("UnbatchStep", unbatch, payload=_batch_of, copies=2, runs_user_code=False),
    Row("Unfold", unfold, copies=2),
    Row("Produce", produce, payload=_record, numbers=_of_record, runs_user_code=False),
    Row("RunTaskInThreads", in_threads(1, touching=True), settle=settled),
    Row("RunTaskInThreads, three", in_threads(3, touching=False), runs_user_code=False, settle=settled),
    Row("RunTaskWithMultiprocessing", on_processes, runs_user_code=False, settle=settled),
    Row("Healthcheck", healthcheck, runs_user_code=False),
    Row("a chain of four", chain),
    Row("compiled: calls", compiled(calls), payload=record, runs_user_code=False, lags=True),
    Row("compiled: flat_map", compiled(twice), payload=record, copies=2, runs_user_code=False, lags=True),
    Row(
        "compiled: at once",
        compiled(concurrent(scheduler=ImmediateScheduler())),
        payload=record,
        runs_user_code=False,
        lags=True,
    ),
    Row(
        "compiled: threads",
        compiled(concurrent(concurrency=3)),
        payload=record,
        runs_user_code=False,
        lags=True,
        settle=calm,
    ),
    Row(
        "compiled: threads, of one key",
        compiled(concurrent(concurrency=3, key=lambda _: 0)),
        payload=record,
        runs_user_code=False,
        lags=True,
        settle=calm,
    ),
    Row("compiled: batch", compiled(in_batches), payload=record, numbers=list, runs_user_code=False, lags=True),
    Row("compiled: scan", compiled(scanned), payload=record, runs_user_code=False, lags=True),
    Row("compiled: broadcast", compiled(branching), payload=record, runs_user_code=False, lags=True),
    Row("compiled: route", compiled(routed), payload=record, runs_user_code=False, lags=True),
)
