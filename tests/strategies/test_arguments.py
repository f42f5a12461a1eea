"""Constructors of the built-in strategies: arguments as arroyo names them, in its order; and what they refuse."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from flowdsl import strategies
from flowdsl.strategies import (
    BatchStep,
    CommitOffsets,
    FilterStep,
    Healthcheck,
    Noop,
    Produce,
    Reduce,
    RunTask,
    Topic,
    UnbatchStep,
    Unfold,
)
from tests.strategies.doubles import Answering

POOL = "max_batch_size, max_batch_time, pool, input_block_size, output_block_size, max_input_block_size, max_output_block_size, prefetch_batches, spawn_shared_memory_process"
ARGUMENTS = {
    "RunTask": "function, next_step, better_backpressure",
    "RunTaskInThreads": "processing_function, concurrency, max_pending_futures, next_step",
    "RunTaskWithMultiprocessing": f"function, next_step, {POOL}",
    "MultiprocessingPool": "num_processes, initializer",
    "FilterStep": "function, next_step, commit_policy",
    "Reduce": "max_batch_size, max_batch_time, accumulator, initial_value, next_step, compute_batch_size",
    "BatchStep": "max_batch_size, max_batch_time, next_step, compute_batch_size",
    "Unfold": "generator, next_step",
    "UnbatchStep": "next_step",
    "Produce": "producer, topic, next_step, max_buffer_size",
    "CommitOffsets": "commit",
    "Healthcheck": "healthcheck_file, next_step",
    "Noop": "",
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "RunTask": {"better_backpressure": False},
    "FilterStep": {"commit_policy": None},
    "Reduce": {"compute_batch_size": None},
    "BatchStep": {"compute_batch_size": None},
    "Produce": {"max_buffer_size": 10000},
    "MultiprocessingPool": {"initializer": None},
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_those_of_arroyo(name: str) -> None:
    parameters = inspect.signature(getattr(strategies, name)).parameters
    positional = [each for each, told in parameters.items() if told.kind is told.POSITIONAL_OR_KEYWORD]
    assert ", ".join(positional) == ARGUMENTS[name]
    for argument, default in DEFAULTS.get(name, {}).items():
        assert parameters[argument].default == default
    others = set(parameters) - set(positional)
    assert others <= {"clock"}


END = Noop()
NONE: Any = None
WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: RunTask(NONE, END), TypeError, "function must be a function, not None"),
    (lambda: RunTask(str, NONE), TypeError, "next_step must be a ProcessingStrategy, not None"),
    (lambda: RunTask(str, Noop), TypeError, "next_step must be a ProcessingStrategy, not <class"),  # type: ignore[arg-type]  # misuse
    (lambda: FilterStep(NONE, END), TypeError, "function must be a function, not None"),
    (lambda: Unfold(NONE, END), TypeError, "generator must be a function, not None"),
    (lambda: UnbatchStep(NONE), TypeError, "next_step must be"),
    (lambda: BatchStep(0, 1.0, END), ValueError, "max_batch_size must be at least 1, but is 0"),
    (lambda: BatchStep(NONE, 1.0, END), TypeError, "max_batch_size must be a whole number, not None"),
    (lambda: BatchStep(1, -1.0, END), ValueError, "max_batch_time must not be negative, but is -1.0"),
    (lambda: BatchStep(1, NONE, END), TypeError, "max_batch_time must be a number of seconds"),
    (lambda: Reduce(1, 1.0, NONE, list, END), TypeError, "accumulator must be a function, not None"),
    (lambda: Reduce(1, 1.0, max, [], END), TypeError, r"initial_value must be a function, not \[\]"),  # type: ignore[arg-type]  # misuse
    (lambda: Produce(Answering(), Topic("t"), END, 0), ValueError, "max_buffer_size must be at least 1, but is 0"),
    (lambda: Produce(NONE, Topic("t"), END), TypeError, "producer"),
    (lambda: Produce(Answering(), "t", END), TypeError, "topic must be a Topic or a Partition, not 't'"),  # type: ignore[arg-type]  # misuse
    (lambda: CommitOffsets(NONE), TypeError, "commit must be a function, not None"),
    (lambda: Healthcheck("/tmp/health", NONE), TypeError, "next_step must be"),  # noqa: S108  # nothing is touched
]


@pytest.mark.parametrize(("make", "error", "text"), WRONG)
def test_wrong_arguments_are_named_at_construction(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()
