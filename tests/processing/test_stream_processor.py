"""``StreamProcessor``: reading, committing, ending, for factories as people write them by hand."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from flowdsl import LocalBroker, Topic, TopicNotFound
from flowdsl.processing import IMMEDIATE, ONCE_PER_SECOND, CommitPolicy, StreamProcessor
from flowdsl.strategies import (
    Commit,
    CommitOffsets,
    KafkaPayload,
    Message,
    Noop,
    Partition,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    RunTask,
)
from tests.processing.running import P0, TOPIC, Factory, run_to_the_end, running
from tests.strategies.arroyo_style import (
    BatchingFactory,
    CountingFactory,
    ExplodingFactory,
    ForwardingFactory,
    PrintingFactory,
)

NEVER_BY_ITSELF = CommitPolicy(1000, None)


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as made:
        made.write("orders", range(10), encode=str)
        yield made


@pytest.fixture
def orders() -> Iterator[LocalBroker]:
    """Orders as the factories in arroyo's style take them."""
    with LocalBroker() as made:
        rows = [{"id": n, "paid": n % 2 == 0, "customer": "ab"[n % 2], "items": list(range(n))} for n in range(5)]
        made.write("orders", rows, encode=json.dumps)
        yield made


# -- factories as people wire them ----------------------------------------------------------------------------------------


def test_every_record_reaches_the_factory_and_is_committed(broker: LocalBroker) -> None:
    factory = PrintingFactory()
    run_to_the_end(broker, factory)
    assert factory.seen == [b"%d" % n for n in range(10)]
    assert broker.committed("g") == {P0: 10}


def test_message_is_a_broker_value_with_key_headers_and_timestamp() -> None:
    with LocalBroker() as broker:
        broker.write("orders", ["v"], key="k", headers=[("h", b"1")])
        seen: list[Message[KafkaPayload]] = []
        run_to_the_end(broker, Factory(seen.append))
        (message,) = seen
        assert message.payload == KafkaPayload(b"k", b"v", (("h", b"1"),))
        assert message.committable == {P0: 1}
        (record,) = broker.read("orders")
        assert message.timestamp == record.timestamp


def test_tombstone_has_no_value() -> None:
    with LocalBroker() as broker:
        broker.write("orders", [None], key="k")
        seen: list[KafkaPayload] = []
        run_to_the_end(broker, Factory(lambda message: seen.append(message.payload)))
        assert seen == [KafkaPayload(b"k", None, ())]


def test_batches(orders: LocalBroker) -> None:
    factory = BatchingFactory(size=2, within=0.05)
    run_to_the_end(orders, factory)
    assert [order["id"] for batch in factory.written for order in batch] == [0, 2, 4]
    assert orders.committed("g") == {P0: 5}


def test_producing(orders: LocalBroker) -> None:
    producer = orders.producer()
    run_to_the_end(orders, ForwardingFactory(producer, Topic("paid")))
    assert [record.key for record in orders.read("paid")] == [b"0", b"2", b"4"]
    producer.close(0.0)


def test_unfolding_and_reducing(orders: LocalBroker) -> None:
    exploding, counting = ExplodingFactory(), CountingFactory(size=3, within=0.05)
    run_to_the_end(orders, exploding, group_id="exploding")
    run_to_the_end(orders, counting, group_id="counting")
    assert exploding.items == [0, 0, 1, 0, 1, 2, 0, 1, 2, 3]
    assert sum(sum(counts.values()) for counts in counting.counts) == 5


# -- commits --------------------------------------------------------------------------------------------------------------


def test_shutdown_commits_what_the_policy_has_not(broker: LocalBroker) -> None:
    seen: list[object] = []
    with running(broker, Factory(seen.append), commit_policy=NEVER_BY_ITSELF) as run:
        run.wait_for(lambda: len(seen) == 10)
        assert broker.committed("g") == {P0: 0}  # where the group began
    assert broker.committed("g") == {P0: 10}


@pytest.mark.parametrize("policy", [IMMEDIATE, CommitPolicy(None, 5), CommitPolicy(0.05), ONCE_PER_SECOND])
def test_policy_commits_without_a_shutdown(broker: LocalBroker, policy: CommitPolicy) -> None:
    with running(broker, Factory(), commit_policy=policy) as run:
        run.wait_for(lambda: broker.committed("g").get(P0) == 10)


def test_number_of_messages_is_counted_from_the_last_commit(broker: LocalBroker) -> None:
    seen: list[object] = []
    with running(broker, Factory(seen.append), commit_policy=CommitPolicy(None, 11)) as run:
        run.wait_for(lambda: len(seen) == 10)
        assert broker.committed("g") == {P0: 0}
        broker.write("orders", ["10"])
        run.wait_for(lambda: broker.committed("g") == {P0: 11})


class Forcing(ProcessingStrategyFactory[KafkaPayload]):
    """Commits by itself, at once."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        return RunTask(lambda message: commit(message.committable, force=True), CommitOffsets(commit))


def test_force_goes_before_the_policy(broker: LocalBroker) -> None:
    with running(broker, Forcing(), commit_policy=NEVER_BY_ITSELF) as run:
        run.wait_for(lambda: broker.committed("g").get(P0) == 10)


class Careless(ProcessingStrategyFactory[KafkaPayload]):
    """Commits partitions that it does not have, and backwards."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        def function(message: Message[KafkaPayload]) -> None:
            commit({P0: 10, Partition(TOPIC, 7): 3})
            commit({P0: 2})

        return RunTask(function, CommitOffsets(lambda offsets, force=False: None))


def test_only_own_partitions_and_only_forward(broker: LocalBroker) -> None:
    run_to_the_end(broker, Careless())
    assert broker.committed("g") == {P0: 10}


# -- the end --------------------------------------------------------------------------------------------------------------


def skip(broker: LocalBroker, count: int) -> None:
    """Leave offsets without records, as transactions do."""
    client: Any = broker.client
    client.storage.find(P0).skip(count)


@pytest.mark.parametrize("policy", [IMMEDIATE, CommitPolicy(0.01, None)])
def test_offsets_without_records_are_committed_behind_the_records_before_them(
    broker: LocalBroker, policy: CommitPolicy
) -> None:
    """Also where a read brings nothing else."""
    with running(broker, Factory(), commit_policy=policy) as run:
        run.wait_for(lambda: broker.committed("g") == {P0: 10})
        skip(broker, 5)
        run.wait_for(lambda: broker.committed("g") == {P0: 15})
        broker.write("orders", ["after"])
        skip(broker, 1)
        run.wait_for(lambda: broker.committed("g") == {P0: 17})


def test_offsets_without_records_wait_for_the_records_before_them(broker: LocalBroker) -> None:
    held: list[Message[KafkaPayload]] = []

    class Holding(ProcessingStrategyFactory[KafkaPayload]):
        def create_with_partitions(
            self, commit: Commit, partitions: Mapping[Partition, int]
        ) -> ProcessingStrategy[KafkaPayload]:
            self.commit = commit
            return RunTask(held.append, Noop())

    skip(broker, 5)
    factory = Holding()
    with running(broker, factory, commit_policy=IMMEDIATE) as run:
        run.wait_for(lambda: len(held) == 10)
        factory.commit({P0: 9})
        run.wait_for(lambda: broker.committed("g") == {P0: 9})
        skip(broker, 5)
        broker.write("orders", ["after"])
        run.wait_for(lambda: len(held) == 11)
        assert broker.committed("g") == {P0: 9}
        factory.commit({P0: 10})
        run.wait_for(lambda: broker.committed("g") != {P0: 9})
        assert broker.committed("g") == {P0: 10}
        factory.commit({P0: 21})
        run.wait_for(lambda: broker.committed("g") == {P0: 21})


def test_shutdown_ends_after_the_message_in_hand(broker: LocalBroker) -> None:
    seen: list[object] = []
    processors: list[StreamProcessor] = []

    def stop_at_third(message: Message[KafkaPayload]) -> None:
        seen.append(message.payload.value)
        if len(seen) == 3:
            processors[0].signal_shutdown()

    factory = Factory(stop_at_third)
    processors.append(StreamProcessor(broker.consumer(group_id="g"), TOPIC, factory))
    processors[0].run()
    assert seen == [b"0", b"1", b"2"]
    assert broker.committed("g") == {P0: 3}
    assert (factory.created, factory.shutdowns) == ([{P0: 0}], 1)


def test_shutdown_hands_on_what_a_batch_holds(orders: LocalBroker) -> None:
    factory = BatchingFactory(size=100, within=1000.0)
    parsed: list[object] = []
    with running(orders, _Noting(factory, parsed), group_id="g") as run:
        run.wait_for(lambda: len(parsed) == 5)
        assert factory.written == []
    assert [[order["id"] for order in batch] for batch in factory.written] == [[0, 2, 4]]
    assert orders.committed("g") == {P0: 5}


class _Noting(ProcessingStrategyFactory[KafkaPayload]):
    """Notes each message before it goes into another factory's strategy."""

    def __init__(self, inner: ProcessingStrategyFactory[KafkaPayload], seen: list[object]) -> None:
        self.inner, self.seen = inner, seen

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        def note(message: Message[KafkaPayload]) -> KafkaPayload:
            self.seen.append(message)
            return message.payload

        return RunTask(note, self.inner.create_with_partitions(commit, partitions))


def test_shutdown_before_the_run_reads_nothing(broker: LocalBroker) -> None:
    factory = Factory()
    processor = StreamProcessor(broker.consumer(group_id="g"), TOPIC, factory)
    processor.signal_shutdown()
    processor.run()
    assert (factory.created, factory.shutdowns, broker.committed("g")) == ([], 1, {})


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, StopIteration])
def test_error_of_a_strategy_ends_the_run_with_itself_uncommitted(
    broker: LocalBroker, error: type[BaseException]
) -> None:
    def fail_at_5(message: Message[KafkaPayload]) -> None:
        if message.payload.value == b"5":
            raise error("five")

    factory = Factory(fail_at_5)
    with pytest.raises(error, match="five"):
        StreamProcessor(broker.consumer(group_id="g"), TOPIC, factory).run()
    assert broker.committed("g") == {P0: 5}
    assert factory.shutdowns == 1


class Slow(ProcessingStrategy[KafkaPayload]):
    """Never finishes what it has."""

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self.joined: list[float | None] = []
        self.terminated = 0
        self.has = Event()

    def submit(self, message: Message[Any]) -> None:
        self.has.set()

    def poll(self) -> None: ...

    def close(self) -> None: ...

    def join(self, timeout: float | None = None) -> None:
        self.joined.append(timeout)

    def terminate(self) -> None:
        self.terminated += 1


class SlowFactory(ProcessingStrategyFactory[KafkaPayload]):
    def __init__(self) -> None:
        self.made: list[Slow] = []

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> Slow:
        self.made.append(Slow(commit))
        return self.made[-1]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [({}, 25.0), ({"join_timeout": 50.0}, 50.0), ({"join_timeout": timedelta(seconds=100)}, 100.0)],
)
def test_join_gets_the_timeout_and_what_is_unfinished_is_read_again(
    broker: LocalBroker, given: dict[str, Any], seconds: float
) -> None:
    factory = SlowFactory()
    with running(broker, factory, **given) as run:
        run.wait_for(lambda: factory.made and factory.made[0].has.is_set())
    (slow,) = factory.made
    (timeout,) = slow.joined
    assert timeout is not None
    assert seconds - 20.0 < timeout <= seconds
    assert slow.terminated
    assert broker.committed("g") == {P0: 0}
    run_to_the_end(broker, Factory())


def test_commit_after_the_end_reaches_nobody(broker: LocalBroker) -> None:
    factory = SlowFactory()
    with running(broker, factory) as run:
        run.wait_for(lambda: factory.made and factory.made[0].has.is_set())
    factory.made[0].commit({P0: 10}, force=True)
    assert broker.committed("g") == {P0: 0}


# -- misuse, and what it leaves alone -------------------------------------------------------------------------------------


def test_no_signal_handlers_are_installed(broker: LocalBroker) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    during: list[Any] = []
    processors: list[StreamProcessor] = []

    def look(_: Message[KafkaPayload]) -> None:
        during.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)])
        processors[0].signal_shutdown()

    processors.append(StreamProcessor(broker.consumer(group_id="g"), TOPIC, Factory(look)))
    processors[0].run()  # in the main thread, where they could be
    assert during == [before]


def test_topic_that_does_not_exist_is_told(broker: LocalBroker) -> None:
    with pytest.raises(TopicNotFound, match=r"'nowhere'.*orders"):
        StreamProcessor(broker.consumer(group_id="g"), Topic("nowhere"), Factory()).run()


WRONG: list[tuple[str, Any, type[Exception]]] = [
    ("consumer", None, TypeError),
    ("consumer", LocalBroker, TypeError),
    ("topic", "orders", TypeError),
    ("processor_factory", Factory, TypeError),
    ("processor_factory", lambda commit, partitions: None, TypeError),
    ("commit_policy", "often", TypeError),
    ("dlq_policy", "dead", TypeError),
    ("join_timeout", -1, ValueError),
    ("join_timeout", "soon", TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), WRONG)
def test_wrong_arguments_are_named(broker: LocalBroker, name: str, value: Any, error: type[Exception]) -> None:
    right: dict[str, Any] = {
        "consumer": broker.consumer(group_id="g"),
        "topic": TOPIC,
        "processor_factory": Factory(),
        "commit_policy": ONCE_PER_SECOND,
        "dlq_policy": None,
        "join_timeout": None,
    }
    StreamProcessor(**right)
    with pytest.raises(error, match=f"^{name} must "):
        StreamProcessor(**{**right, name: value})


def test_factory_that_returns_no_strategy_is_named(broker: LocalBroker) -> None:
    class Forgetful(ProcessingStrategyFactory[KafkaPayload]):
        def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> Any:
            RunTask(lambda message: None, CommitOffsets(commit))

    with pytest.raises(TypeError, match=r"create_with_partitions of Forgetful .*returned None"):
        StreamProcessor(broker.consumer(group_id="g"), TOPIC, Forgetful()).run()
