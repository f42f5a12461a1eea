"""The brokers that the suite runs on, and members of groups that note what they are told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from re import Pattern
from typing import Any

import pytest

from flowdsl import Kafka, LocalBroker
from flowdsl.brokers.local.client import LocalClient
from flowdsl.brokers.local.waiter import NoWait
from flowdsl.brokers.protocols import Client, Consumer
from flowdsl.errors import BrokerError
from flowdsl.flow.face import Broker
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import Partition
from tests.kafka.protocols import COOPERATIVE, EAGER, KIP_848, PROTOCOLS


class Reader:
    """A consumer with a listener that notes everything; commits what it read when it has to give partitions up."""

    def __init__(self, consumer: Consumer, topics: Sequence[str] | Pattern[str], *, commits: bool = False) -> None:
        self.consumer = consumer
        self.owned: dict[Partition, int] = {}
        self.told: list[tuple[str, tuple[Partition, ...]]] = []
        self.seen: list[tuple[Partition, int]] = []
        self.values: list[Any] = []
        self.strays: list[Partition] = []
        """Partitions of records that were handed out when they were somebody else's already."""
        self.done: dict[Partition, int] = {}
        self.answers: list[BrokerError | None] = []
        self.commits_on_revoke = commits
        consumer.subscribe(topics, self)

    def assigned(self, partitions: Mapping[Partition, int]) -> None:
        self.told.append(("assigned", tuple(sorted(partitions))))
        self.owned.update(partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        self.told.append(("revoked", tuple(sorted(partitions))))
        if self.commits_on_revoke:
            self.commit()
            self.consumer.settle(5.0)
        self._drop(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        self.told.append(("lost", tuple(sorted(partitions))))
        self._drop(partitions)

    def _drop(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self.owned.pop(partition, None)
            self.done.pop(partition, None)

    def read(self, limit: int = 1000, timeout: float = 0.0) -> list[Any]:
        records = self.consumer.read(limit, timeout)
        self.done.update(records.positions)
        self.seen += [records.place(index) for index in range(len(records))]
        self.values += records.payload
        self.strays += [
            partition for partition, _ in self.seen[len(self.seen) - len(records) :] if partition not in self.owned
        ]
        return list(records.payload)

    def commit(self) -> None:
        mine = {partition: offset for partition, offset in self.done.items() if partition in self.owned}
        if mine:
            self.consumer.commit(mine, self.answers.append)


Join = Callable[..., Reader]


def _kind(broker: str, protocol: str) -> object:
    return pytest.param((broker, protocol), marks=pytest.mark.slow if broker == "kafka" else ())


ONE_EACH = [_kind("local", COOPERATIVE), _kind("kafka", COOPERATIVE)]
EVERY_GROUP = [_kind("local", EAGER), *ONE_EACH, _kind("kafka", EAGER), _kind("kafka", KIP_848)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each kind of broker is one parameter; tests that are marked ``groups`` run in every group protocol of it."""
    if "kind" in metafunc.fixturenames:
        in_groups = metafunc.definition.get_closest_marker("groups") is not None
        metafunc.parametrize("kind", EVERY_GROUP if in_groups else ONE_EACH, ids="-".join)


@pytest.fixture
def broker(kind: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker. A Kafka is shared with other tests: names of topics and groups are ``t`` and ``g``."""
    made = LocalBroker(partitions=2) if kind[0] == "local" else Kafka(request.getfixturevalue("kafka_address"))
    with made:
        yield made


@pytest.fixture
def join(broker: Broker, kind: tuple[str, str], g: str) -> Iterator[Join]:
    """Makes readers, which leave at the end."""
    readers: list[Reader] = []

    def make(
        topics: str | Sequence[str] | Pattern[str], group_id: str | None = g, *, commits: bool = False, **options: Any
    ) -> Reader:
        settings = {**PROTOCOLS[kind[1]], **options.pop("settings", {})}
        consumer = broker.client.consumer(group_id=group_id, settings=settings, **options)
        readers.append(Reader(consumer, [topics] if isinstance(topics, str) else topics, commits=commits))
        return readers[-1]

    yield make
    for reader in readers:
        reader.consumer.close(1.0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def client(clock: VirtualClock) -> LocalClient:
    """The embedded broker in virtual time."""
    return LocalClient(partitions=2, clock=clock, waiter=NoWait())


@pytest.fixture
def reader_of() -> Callable[..., Reader]:
    """A reader of any client: ``reader_of(client, topics, group_id, ...)``."""

    def make(
        client: Client,
        topics: Sequence[str] | Pattern[str],
        group_id: str | None = "g",
        *,
        commits: bool = False,
        **options: Any,
    ) -> Reader:
        return Reader(client.consumer(group_id=group_id, **options), topics, commits=commits)

    return make
