"""Stream pipelines: a source, operators, a sink, put together with ``|``."""

from flowdsl.errors import (
    BrokerError,
    BrokerUnreachable,
    CommitFailed,
    DeliveryFailed,
    DlqLimitExceeded,
    Fenced,
    FlowDefinitionError,
    FlowError,
    FlowNotClosedError,
    NotAuthorized,
    OffsetOutOfRange,
    Problem,
    RunTimeout,
    StepFailed,
    StopTimeout,
    TopicNotFound,
    WorkerDied,
)
from flowdsl.flow.broker import Kafka, LocalBroker, connect
from flowdsl.flow.commits import every, immediately, never
from flowdsl.flow.flow import ClosedFlow, Flow
from flowdsl.flow.handle import RunHandle
from flowdsl.flow.sources import from_iterable, from_observable, last, merge
from flowdsl.flow.stats import Stats
from flowdsl.operators.batch import batch
from flowdsl.operators.broadcast import broadcast
from flowdsl.operators.codecs import JSON, RAW, TEXT
from flowdsl.operators.coding import decode, encode
from flowdsl.operators.constants import INHERIT
from flowdsl.operators.distinct import distinct_until_changed
from flowdsl.operators.filter import filter_
from flowdsl.operators.flat_map import flat_map
from flowdsl.operators.fold import fold
from flowdsl.operators.map import map_
from flowdsl.operators.route import route
from flowdsl.operators.scan import scan
from flowdsl.operators.sink import sink
from flowdsl.operators.take import take
from flowdsl.operators.tap import tap
from flowdsl.operators.through import through
from flowdsl.operators.to_list import to_list
from flowdsl.operators.unbatch import unbatch
from flowdsl.operators.with_record import with_record
from flowdsl.plan.fragment import Fragment
from flowdsl.plan.policy import dead_letter, retry
from flowdsl.plan.using import using
from flowdsl.reactive.processes import processes
from flowdsl.reactive.threads import threads
from flowdsl.types import CommitPolicy, Partition, Record, Topic

__all__ = [
    "INHERIT",
    "JSON",
    "RAW",
    "TEXT",
    "BrokerError",
    "BrokerUnreachable",
    "ClosedFlow",
    "CommitFailed",
    "CommitPolicy",
    "DeliveryFailed",
    "DlqLimitExceeded",
    "Fenced",
    "Flow",
    "FlowDefinitionError",
    "FlowError",
    "FlowNotClosedError",
    "Fragment",
    "Kafka",
    "LocalBroker",
    "NotAuthorized",
    "OffsetOutOfRange",
    "Partition",
    "Problem",
    "Record",
    "RunHandle",
    "RunTimeout",
    "Stats",
    "StepFailed",
    "StopTimeout",
    "Topic",
    "TopicNotFound",
    "WorkerDied",
    "batch",
    "broadcast",
    "connect",
    "dead_letter",
    "decode",
    "distinct_until_changed",
    "encode",
    "every",
    "filter_",
    "flat_map",
    "fold",
    "from_iterable",
    "from_observable",
    "immediately",
    "last",
    "map_",
    "merge",
    "never",
    "processes",
    "retry",
    "route",
    "scan",
    "sink",
    "take",
    "tap",
    "threads",
    "through",
    "to_list",
    "unbatch",
    "using",
    "with_record",
]
