"""Brokers of a cluster come and go one by one, as where they are updated: those who read and write go on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event

import pytest

from flowdsl import Kafka, every, from_iterable
from tests.kafka.helpers import wait_for
from tests.kafka.protocols import PROTOCOLS, settings_of
from tests.kafka.server import OUTAGES, KafkaServer

pytestmark = pytest.mark.slow
PARTITIONS = 6
OFTEN = every(seconds=0.2)


def numbers(end: Event) -> Iterator[int]:
    """Some five hundred a second."""
    number = 0
    while not end.wait(0.002):
        yield number
        number += 1


def test_flows_go_on_while_the_brokers_of_a_cluster_are_replaced_one_by_one(cluster: list[KafkaServer]) -> None:
    """Leaders and coordinators move; a broker that is away is not in the cluster's own list meanwhile."""
    end = Event()
    with Kafka(",".join(node.address for node in cluster)) as kafka, ExitStack() as running:
        for topic in ("in", *PROTOCOLS):
            kafka.create_topic(topic, partitions=PARTITIONS, replication=len(cluster))
        by_key = from_iterable(numbers(end)) | kafka.sink("in", key=lambda number: str(number % 20), encode=str)
        writer = running.enter_context(by_key.start())
        copies = [
            running.enter_context(
                (kafka.source("in", group_id=name, settings=settings_of(name)) | kafka.sink(name)).start(commit=OFTEN)
            )
            for name in PROTOCOLS
        ]
        running.callback(end.set)
        for turn, (down, up) in enumerate(OUTAGES):
            node = cluster[1 + turn % 2]
            down(node)
            time.sleep(4.0)  # longer than the cluster waits for it
            up(node)
            written = writer.stats.delivered + 500
            wait_for(lambda: all(copy.stats.delivered >= written or not copy.running for copy in copies))  # noqa: B023  # waited for in this turn
            for copy in copies:
                if not copy.running:
                    copy.result()  # raises what ended it
        end.set()
        count = writer.result(timeout=120.0).delivered
        wait_for(lambda: all(sum(kafka.lag(name).values()) == 0 for name in PROTOCOLS))
        for copy in copies:
            copy.stop(timeout=120.0)
        for name in PROTOCOLS:
            seen: dict[bytes | None, dict[int, None]] = defaultdict(dict)
            for record in kafka.read(name):
                seen[record.key].setdefault(int(record.value or b"-1"))
            assert sum(map(len, seen.values())) == count, f"{name}: something is missing"
            assert all(list(each) == sorted(each) for each in seen.values()), f"{name}: order, up to what is repeated"
