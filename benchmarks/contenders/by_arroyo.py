"""The same with sentry-arroyo: ``by_arroyo.py JOB ADDRESS TOPIC GROUP RECORDS``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from arroyo.backends.kafka import (
    KafkaConsumer,
    KafkaPayload,
    KafkaProducer,
    build_kafka_consumer_configuration,
    build_kafka_producer_configuration,
)
from arroyo.commit import ONCE_PER_SECOND
from arroyo.processing import StreamProcessor
from arroyo.processing.strategies import (
    BatchStep,
    CommitOffsets,
    FilterStep,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    Produce,
    RunTask,
)
from arroyo.types import Commit, Message, Partition, Topic
from jobs import BATCH, READING, WRITING, Counting, Watch, dumps, enrich, keep, loads


class Factory(ProcessingStrategyFactory[KafkaPayload]):
    """Decode, filter, enrich, and what follows."""

    def __init__(self, end: Any) -> None:
        self._end = end

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        enriched: Any = RunTask(lambda message: enrich(message.payload), self._end(commit))
        kept: Any = FilterStep(lambda message: keep(message.payload), enriched)
        return RunTask(lambda message: loads(message.payload.value), kept)


def processor(address: str, topic: str, group: str, end: Any) -> StreamProcessor[KafkaPayload]:
    settings = build_kafka_consumer_configuration(
        {}, group, auto_offset_reset="earliest", bootstrap_servers=[address], override_params=READING
    )
    return StreamProcessor(KafkaConsumer(settings), Topic(topic), Factory(end), ONCE_PER_SECOND)


def into_a_sink(address: str, topic: str, group: str, records: int) -> None:
    rows = Counting(records // 2)

    def write(message: Message[Any]) -> None:
        rows([each.payload for each in message.payload])
        if rows.count >= rows.total:
            running.signal_shutdown()

    def end(commit: Commit) -> Any:
        return BatchStep(BATCH, 1.0, RunTask(write, CommitOffsets(commit)))

    running = processor(address, topic, group, end)
    running.run()


def into_a_topic(address: str, topic: str, group: str, records: int) -> None:
    watch, count = Watch(), [0]
    producer = KafkaProducer(build_kafka_producer_configuration({}, [address], override_params=WRITING))

    def encoded(message: Message[Any]) -> KafkaPayload:
        if not count[0]:
            watch.start()
        return KafkaPayload(None, dumps(message.payload), [])

    def acknowledged(message: Message[Any]) -> Any:
        count[0] += 1
        if count[0] == records // 2:
            watch.stop(records)
            running.signal_shutdown()
        return message.payload

    def end(commit: Commit) -> Any:
        behind: Any = RunTask(acknowledged, CommitOffsets(commit))
        return RunTask(encoded, Produce(producer, Topic(f"{topic}-out"), behind))

    running = processor(address, topic, group, end)
    running.run()
    producer.close().result()


JOBS = {job.__name__: job for job in (into_a_sink, into_a_topic)}

if __name__ == "__main__":
    job, address, topic, group, records = sys.argv[1:]
    JOBS[job](address, topic, group, int(records))
