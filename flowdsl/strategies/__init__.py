"""The built-in strategies, with the interface that everything compiles to, and its values."""

from flowdsl.interface.strategy import MessageRejected, ProcessingStrategy, ProcessingStrategyFactory
from flowdsl.strategies.batch_step import BatchStep, UnbatchStep, ValuesBatch
from flowdsl.strategies.commit_offsets import CommitOffsets
from flowdsl.strategies.filter_step import FilterStep
from flowdsl.strategies.healthcheck import Healthcheck
from flowdsl.strategies.noop import Noop
from flowdsl.strategies.produce import Produce
from flowdsl.strategies.reduce import Reduce
from flowdsl.strategies.run_task import RunTask
from flowdsl.strategies.run_task_in_threads import RunTaskInThreads
from flowdsl.strategies.run_task_with_multiprocessing import MultiprocessingPool, RunTaskWithMultiprocessing
from flowdsl.strategies.unfold import Unfold
from flowdsl.types import (
    FILTERED_PAYLOAD,
    BaseValue,
    BrokerValue,
    Commit,
    FilteredPayload,
    KafkaPayload,
    Message,
    Partition,
    Topic,
    Value,
)

__all__ = [
    "FILTERED_PAYLOAD",
    "BaseValue",
    "BatchStep",
    "BrokerValue",
    "Commit",
    "CommitOffsets",
    "FilterStep",
    "FilteredPayload",
    "Healthcheck",
    "KafkaPayload",
    "Message",
    "MessageRejected",
    "MultiprocessingPool",
    "Noop",
    "Partition",
    "ProcessingStrategy",
    "ProcessingStrategyFactory",
    "Produce",
    "Reduce",
    "RunTask",
    "RunTaskInThreads",
    "RunTaskWithMultiprocessing",
    "Topic",
    "UnbatchStep",
    "Unfold",
    "Value",
    "ValuesBatch",
]
