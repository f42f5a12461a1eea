"""What every client of librdkafka is told, and why: the tables that the documentation shows.

A setting of the user comes before a default, and after what is fixed, because delivery depends on it.
"""

from __future__ import annotations

from msgspec import Struct


class Default(Struct, frozen=True):
    """One setting, its value, and why it is not librdkafka's own."""

    name: str
    value: str | int | bool
    why: str


EVERYWHERE = (
    Default("client.id", "flowdsl", "the broker's own log and metrics tell who is connected"),
    Default("reconnect.backoff.max.ms", 3_000, "a broker that comes back is found within seconds instead of ten"),
)
"""Of consumers and producers."""

READING = (
    Default("fetch.queue.backoff.ms", 10, "with 1000 a fast consumer starves a second each time its queue was full"),
    Default("topic.metadata.refresh.interval.ms", 60_000, "new partitions are noticed in a minute instead of five"),
)
"""Of consumers."""

READING_CLASSIC = (
    Default(
        "partition.assignment.strategy",
        "cooperative-sticky",
        "members that join or leave stop only the partitions that move",
    ),
)
"""Of consumers in a classic group. With group.protocol=consumer (KIP-848) the broker assigns, and refuses this setting."""

READING_FIXED = (
    Default("enable.auto.commit", False, "offsets are committed once their records are done"),
    Default("enable.auto.offset.store", False, "offsets move once their records are done"),
    Default("auto.offset.reset", "error", "start= and on_gap= say where to read, once and explicitly"),
    Default("enable.partition.eof", False, "ends are known by offset"),
    Default("allow.auto.create.topics", False, "reading must not make a misspelt topic"),
)
"""Of consumers, whatever the user says."""

WRITING = (
    Default("enable.idempotence", True, "a repeated request neither doubles nor reorders records"),
    Default("partitioner", "murmur2_random", "keys go where Kafka's Java clients put them"),
    Default("message.timeout.ms", 0, "a broker that is away is waited for; runs have deadlines of their own"),
    Default(
        "topic.metadata.propagation.max.ms", 5_000, "a topic that does not exist is reported in seconds, not thirty"
    ),
)
"""Of producers."""

WRITING_FIXED = (
    Default("acks", "all", "an acknowledged record survives the loss of a broker"),
    Default("allow.auto.create.topics", False, "writing must not make a misspelt topic"),
)
"""Of producers, whatever the user says."""
