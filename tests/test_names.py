"""Where names live: what the table of the contract says, and nothing in ``__all__`` that is not there."""

from __future__ import annotations

import importlib

import pytest

import flowdsl
from flowdsl import processing, strategies

NAMES = {
    "flowdsl": """
        Kafka LocalBroker connect from_iterable map_ flat_map filter_ tap with_record scan distinct_until_changed take decode
        encode batch unbatch fold route broadcast merge through sink to_list Flow ClosedFlow Fragment RunHandle Stats
        Record Topic Partition INHERIT JSON TEXT RAW last every immediately never dead_letter CommitPolicy FlowError
        FlowDefinitionError StepFailed BrokerError BrokerUnreachable TopicNotFound NotAuthorized DeliveryFailed
        OffsetOutOfRange Fenced CommitFailed StopTimeout RunTimeout DlqLimitExceeded WorkerDied using threads processes
        retry from_observable
    """,
    "flowdsl.strategies": """
        ProcessingStrategy ProcessingStrategyFactory Message Value BrokerValue BaseValue FilteredPayload FILTERED_PAYLOAD
        KafkaPayload Commit MessageRejected RunTask RunTaskInThreads RunTaskWithMultiprocessing MultiprocessingPool
        FilterStep Reduce BatchStep UnbatchStep Unfold Produce CommitOffsets Healthcheck Noop Topic Partition
    """,
    "flowdsl.processing": """
        StreamProcessor CommitPolicy IMMEDIATE ONCE_PER_SECOND InvalidMessage DlqPolicy DlqLimit KafkaDlqProducer
    """,
    "flowdsl.testing": "Driver simulate ALL_CHECKS SimulationFailed",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_live_where_the_table_says(module: str) -> None:
    found = importlib.import_module(module)
    for name in NAMES[module].split():
        assert hasattr(found, name), name
        assert name in found.__all__, name


@pytest.mark.parametrize("module", NAMES)
def test_what_is_handed_on_exists_and_is_named_once(module: str) -> None:
    found = importlib.import_module(module)
    assert all(hasattr(found, name) for name in found.__all__)
    assert len(set(found.__all__)) == len(found.__all__)


def test_both_layers_mean_the_same() -> None:
    assert flowdsl.CommitPolicy is processing.CommitPolicy
    assert (flowdsl.Topic, flowdsl.Partition) == (strategies.Topic, strategies.Partition)
    assert flowdsl.immediately == processing.IMMEDIATE == processing.CommitPolicy(None, 1)
    assert processing.CommitPolicy(1, None) == processing.ONCE_PER_SECOND
    assert isinstance(flowdsl.never, processing.CommitPolicy)
