"""The last broker of a cluster says that there is none, and hangs up: librdkafka may then be without brokers for ever."""

from __future__ import annotations

import contextlib
import time

import pytest

from flowdsl import ClosedFlow, Kafka, Stats, every
from flowdsl.brokers.kafka.bootstrap import Bootstrap
from tests.kafka.fixtures import needs_kafka
from tests.kafka.helpers import add, fill, wait_for
from tests.kafka.middleman import Middleman
from tests.kafka.protocols import PROTOCOLS, settings_of
from tests.kafka.server import KafkaServer, port_of, reserved

pytestmark = pytest.mark.slow
TIMES = 6
"""How often it leaves: each time perhaps a third of the clients would be lost without help."""


def test_flows_find_the_broker_again_when_the_last_one_has_left(t: str, g: str) -> None:
    needs_kafka()
    (taken,) = reserved(1)
    port = port_of(taken)
    server = KafkaServer(advertised=port)
    try:
        server.start()
        with Middleman(port, server.port) as middleman, Kafka(f"127.0.0.1:{port}") as kafka:
            fill(kafka, t, 10)
            copies = [f"{t}-{name}" for name in (*PROTOCOLS, "alone")]
            sources = [kafka.source(t, group_id=f"{g}-{name}", settings=settings_of(name)) for name in PROTOCOLS]
            flows: list[ClosedFlow[Stats]] = []
            for source, copy in zip([*sources, kafka.source(t)], copies, strict=True):
                kafka.create_topic(copy)
                flows.append(source | kafka.sink(copy))
            with contextlib.ExitStack() as stack:
                handles = [stack.enter_context(flow.start(commit=every(seconds=0.3))) for flow in flows]
                for turn in range(1, TIMES + 1):
                    wait_for(lambda: all(handle.stats.delivered >= 10 * turn for handle in handles))  # noqa: B023  # waited for in this turn
                    denied = middleman.denied
                    middleman.leave()
                    wait_for(lambda: middleman.denied > denied)  # noqa: B023  # as above
                    time.sleep(1.0)  # others ask as well
                    middleman.come_back()
                    wait_for(lambda: t in kafka.topics())
                    add(kafka, t, range(10 * turn, 10 * turn + 10))
                wait_for(lambda: all(handle.stats.delivered >= 10 * TIMES + 10 for handle in handles))
                for name in PROTOCOLS:
                    wait_for(lambda: sum(kafka.lag(f"{g}-{name}").values()) == 0)  # noqa: B023  # as above
                for handle in handles:
                    handle.stop(timeout=120)
            kafka.create_topic(f"{t}-afterwards")
            for copy in copies:
                assert {int(record.value or b"-1") for record in kafka.read(copy)} == set(range(10 * TIMES + 10))
    finally:
        server.remove()
        taken.close()


@pytest.mark.parametrize(
    ("otherwise", "clients"),
    [("not_answered", {"Consumer", "Producer"}), ("all_down", {"Producer", "AdminClient"})],
)
def test_clients_of_a_flow_are_told_their_servers_by_time_and_where_they_are_asked_in_vain(
    own_kafka: KafkaServer, t: str, monkeypatch: pytest.MonkeyPatch, otherwise: str, clients: set[str]
) -> None:
    told: set[str] = set()
    monkeypatch.setattr(Bootstrap, otherwise, lambda *_: None)
    monkeypatch.setattr(Bootstrap, "tell", lambda _, handle: told.add(type(handle).__name__))
    with Kafka(own_kafka.address) as kafka:
        fill(kafka, t, 10)
        kafka.create_topic(f"{t}-out")
        with (kafka.source(t) | kafka.sink(f"{t}-out")).start() as handle:
            wait_for(lambda: handle.stats.delivered == 10)
            own_kafka.kill()
            wait_for(lambda: told >= clients)
            own_kafka.start()
            handle.stop(timeout=120)
