"""Partitions in both languages: ours, and librdkafka's ``TopicPartition``."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from confluent_kafka import TopicPartition

from flowdsl.types import Partition, Topic


class Places(dict[tuple[str, int], Partition]):
    """The one ``Partition`` of each topic and number: made once, looked up after that."""

    def __missing__(self, place: tuple[str, int]) -> Partition:
        topic, index = place
        partition = self[place] = Partition(Topic(topic), index)
        return partition

    def of(self, given: TopicPartition) -> Partition:
        return self[given.topic, given.partition]


def theirs(partitions: Iterable[Partition]) -> list[TopicPartition]:
    """Partitions as librdkafka wants them, in order."""
    return [TopicPartition(partition.topic.name, partition.index) for partition in sorted(partitions)]


def named(partitions: Collection[Partition]) -> str:
    return ", ".join(map(str, sorted(partitions)))
