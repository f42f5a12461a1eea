"""The Kafka that tests run on: one for the whole run, and brokers of their own for tests that stop and kill them.

``FLOWDSL_TEST_KAFKA=host:port`` names one that is running already. Without it one is started; where Java or Maven lack the
tests are skipped, and say why.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowdsl import Kafka
from tests.kafka.jars import what_lacks
from tests.kafka.server import KafkaServer, unique

VARIABLE = "FLOWDSL_TEST_KAFKA"


@pytest.fixture(scope="session")
def kafka_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """host:port of the Kafka of this run. It is shared by everybody: names of topics and groups must be unique."""
    given = os.environ.get(VARIABLE)
    if given:
        return given
    needs_kafka()
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the folder above, and the process that started them
        return shared(folder.parent, owner=os.getppid())
    return shared(folder, owner=os.getpid())


def shared(folder: Path, owner: int) -> str:
    """The address of the one Kafka of this folder, started by whoever comes first; it lives as long as the owner."""
    note = folder / "kafka.address"
    with (folder / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            KEPT.append(KafkaServer(owner=owner, session=30.0).start())
            note.write_text(KEPT[-1].address)
    return note.read_text()


KEPT: list[KafkaServer] = []
"""Held until this process ends; the server itself ends with its owner."""


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    """A Kafka that is running, for this test alone: to stop, kill, pause and start again."""
    needs_kafka()
    server = KafkaServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def cluster() -> Iterator[list[KafkaServer]]:
    """Three brokers that are running, for this test alone. The first must stay: nobody else can say who leads what."""
    needs_kafka()
    nodes = [KafkaServer(replicas=3)]
    nodes += [KafkaServer(joins=nodes[0], node=node, replicas=3) for node in (2, 3)]
    try:
        yield [node.start() for node in nodes]
    finally:
        for node in reversed(nodes):
            node.remove()


def needs_kafka() -> None:
    lacks = what_lacks()
    if lacks is not None:
        pytest.skip(lacks)


@pytest.fixture
def kafka(kafka_address: str) -> Iterator[Kafka]:
    """The Kafka of this run, as users hold it."""
    with Kafka(kafka_address) as broker:
        yield broker


@pytest.fixture
def t() -> str:
    """The name of a topic that no other test has."""
    return unique("t")


@pytest.fixture
def g() -> str:
    """The name of a group that no other test has."""
    return unique("g")
