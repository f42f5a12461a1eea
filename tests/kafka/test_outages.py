"""The broker goes away in mid-run: the flow waits with one warning line, goes on, and loses nothing."""

from __future__ import annotations

import logging
import time

import pytest

from flowdsl import Kafka, every, sink
from tests.kafka.helpers import add, fill, wait_for
from tests.kafka.protocols import in_every_protocol, settings_of
from tests.kafka.server import KafkaServer

pytestmark = pytest.mark.slow


@in_every_protocol
def test_flow_goes_on_after_a_restart_of_the_broker(
    own_kafka: KafkaServer, t: str, g: str, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Kafka(own_kafka.address) as kafka:
        fill(kafka, t, 100, partitions=2)
        kafka.create_topic(f"{t}-out")
        values: list[int] = []
        source = kafka.source(t, group_id=g, decode=int, settings=settings_of(protocol))
        seen = (source | sink(values.append)).start(commit=every(seconds=0.3))
        copied = (kafka.source(t, group_id=f"{g}-copy", settings=settings_of(protocol)) | kafka.sink(f"{t}-out")).start(
            commit=every(seconds=0.3)
        )
        wait_for(lambda: len(values) >= 100 and copied.stats.delivered >= 100)
        for end, down in enumerate((own_kafka.kill, own_kafka.stop, own_kafka.pause)):
            caplog.clear()
            down()
            time.sleep(4.0)
            own_kafka.resume() if down == own_kafka.pause else own_kafka.start()
            numbers = range(100 + 100 * end, 200 + 100 * end)
            add(kafka, t, numbers, partitions=2)
            wait_for(lambda: set(values) >= set(range(numbers.stop)))  # noqa: B023  # waited for in this turn
            warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
            assert len([r for r in warned if "answer" in r.message or "reach" in r.message]) <= 2, warned
        wait_for(lambda: sum(kafka.lag(g).values()) == 0 and sum(kafka.lag(f"{g}-copy").values()) == 0)
        for handle in (seen, copied):
            handle.stop(timeout=60)
        assert {int(record.value or b"-1") for record in kafka.read(f"{t}-out")} == set(range(400))
