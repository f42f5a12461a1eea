"""The example with the flights runs on a real Kafka as it stands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flowdsl import Kafka
from tests.kafka.helpers import ROOT, wait_for

pytestmark = pytest.mark.slow


def test_a_month_of_flights_goes_through_a_real_kafka(kafka: Kafka, kafka_address: str) -> None:
    for topic in {"flights", "flights-dead"} & kafka.topics().keys():  # of an earlier run, on a broker that stays
        kafka.delete_topic(topic)
        wait_for(lambda: topic not in kafka.topics())  # noqa: B023  # waited for in this turn
    command = [sys.executable, str(ROOT / "examples" / "flights.py"), "--broker", f"kafka://{kafka_address}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "606" in done.stdout
    assert sum(kafka.committed("delays").values()) == 27_004
    assert len(kafka.read("flights-dead")) == 606
