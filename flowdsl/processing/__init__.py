"""The loop that drives pipelines, for strategies and factories written by hand."""

from flowdsl.errors import DlqLimitExceeded, InvalidMessage
from flowdsl.processing.dlq import DlqLimit, DlqPolicy, DlqProducer, KafkaDlqProducer
from flowdsl.processing.stream_processor import StreamProcessor
from flowdsl.types import IMMEDIATE, ONCE_PER_SECOND, CommitPolicy

__all__ = [
    "IMMEDIATE",
    "ONCE_PER_SECOND",
    "CommitPolicy",
    "DlqLimit",
    "DlqLimitExceeded",
    "DlqPolicy",
    "DlqProducer",
    "InvalidMessage",
    "KafkaDlqProducer",
    "StreamProcessor",
]
