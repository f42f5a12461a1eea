"""Invalid records of hand-written strategies: skipped without a policy, sent where a policy says, and too many of them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from flowdsl import DeliveryFailed, DlqLimitExceeded, FlowError, LocalBroker, StepFailed, Topic, map_, sink
from flowdsl.brokers.memory import MemoryRecords
from flowdsl.clock import SYSTEM_CLOCK
from flowdsl.processing import IMMEDIATE, DlqLimit, DlqPolicy, InvalidMessage, KafkaDlqProducer
from flowdsl.processing.dlq import DlqProducer
from flowdsl.processing.invalid import InvalidRecords
from flowdsl.strategies import (
    BatchStep,
    BrokerValue,
    Commit,
    CommitOffsets,
    FilteredPayload,
    KafkaPayload,
    Message,
    MessageRejected,
    Partition,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    RunTask,
    Value,
)
from tests.processing.running import P0, TOPIC, Factory, letters, run_to_the_end, running
from tests.strategies.arroyo_style import BatchingFactory
from tests.strategies.doubles import Passing

DEAD = Topic("dead")


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as made:
        made.write("orders", range(10), encode=str, key=str, headers=[("own", b"1")])
        yield made


def refusing(*numbers: int) -> Factory:
    """Finds these invalid."""

    def check(message: Message[KafkaPayload]) -> None:
        if int(message.payload.value or b"") in numbers:
            raise InvalidMessage.from_value(message.value, reason="not wanted")

    return Factory(check)


def policy(broker: LocalBroker, **given: Any) -> DlqPolicy:
    return DlqPolicy(KafkaDlqProducer(broker.producer(), DEAD), **given)


# -- where they go --------------------------------------------------------------------------------------------------------


def test_without_a_policy_they_are_logged_and_skipped(broker: LocalBroker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "flowdsl"):
        run_to_the_end(broker, refusing(3, 9))
    assert broker.committed("g") == {P0: 10}
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["offset 3: not wanted" in text for text in told] == [True, False]
    assert "offset 9" in told[1]


def test_original_goes_to_the_topic_with_where_it_came_from(broker: LocalBroker) -> None:
    run_to_the_end(broker, refusing(5), dlq_policy=policy(broker))
    (letter,) = broker.read("dead")
    assert (letter.key, letter.value) == (b"5", b"5")
    assert dict(letter.headers) == {
        "own": b"1",
        "original_topic": b"orders",
        "original_partition": b"0",
        "original_offset": b"5",
        "reason": b"not wanted",
    }
    assert broker.committed("g") == {P0: 10}


@pytest.mark.parametrize("numbers", [(0,), (9,), (0, 1, 2), (4, 9), tuple(range(10))])
def test_all_of_them_arrive_wherever_they_stand(broker: LocalBroker, numbers: tuple[int, ...]) -> None:
    run_to_the_end(broker, refusing(*numbers), dlq_policy=policy(broker))
    assert [int(letter["value"]) for letter in letters(broker, "dead")] == list(numbers)
    assert broker.committed("g") == {P0: 10}


class FromPoll(ProcessingStrategy[KafkaPayload]):
    """Takes everything, and finds the odd ones invalid later: in ``poll``, or in ``join`` alone."""

    def __init__(self, commit: Commit, *, in_poll: bool) -> None:
        self.commit, self.in_poll = commit, in_poll
        self.waiting: list[Message[Any]] = []
        self.taken = 0

    def submit(self, message: Message[Any]) -> None:
        self.waiting.append(message)
        self.taken += 1

    def poll(self) -> None:
        if self.in_poll:
            self.work()

    def work(self) -> None:
        while self.waiting:
            message = self.waiting.pop(0)
            self.commit(message.committable)
            if int(message.payload.value) % 2:
                raise InvalidMessage.from_value(message.value, reason="odd")

    def close(self) -> None: ...

    def terminate(self) -> None:
        self.waiting.clear()

    def join(self, timeout: float | None = None) -> None:
        self.work()


class FromPollFactory(ProcessingStrategyFactory[KafkaPayload]):
    def __init__(self, *, in_poll: bool) -> None:
        self.in_poll = in_poll
        self.made: list[FromPoll] = []

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> FromPoll:
        self.made.append(FromPoll(commit, in_poll=self.in_poll))
        return self.made[-1]


def test_invalid_message_may_come_out_of_poll(broker: LocalBroker) -> None:
    run_to_the_end(broker, FromPollFactory(in_poll=True), dlq_policy=policy(broker))
    assert [letter["original_offset"] for letter in letters(broker, "dead")] == [b"1", b"3", b"5", b"7", b"9"]
    assert broker.committed("g") == {P0: 10}


def test_invalid_message_may_come_out_of_join_which_is_called_again(broker: LocalBroker) -> None:
    factory = FromPollFactory(in_poll=False)
    with running(broker, factory, dlq_policy=policy(broker)) as run:
        run.wait_for(lambda: factory.made and factory.made[0].taken == 10)
        assert letters(broker, "dead") == []
    assert [letter["original_offset"] for letter in letters(broker, "dead")] == [b"1", b"3", b"5", b"7", b"9"]
    assert broker.committed("g") == {P0: 10}


def test_invalid_record_between_others_in_a_batch(broker: LocalBroker) -> None:
    with LocalBroker() as other:
        rows = ['{"id": 1, "paid": true}', "nonsense", '{"id": 2, "paid": true}']
        other.write("orders", rows)
        factory = BatchingFactory(size=2, within=1000.0)
        run_to_the_end(other, factory, dlq_policy=policy(other))
        assert [[order["id"] for order in batch] for batch in factory.written] == [[1, 2]]
        assert [letter["value"] for letter in letters(other, "dead")] == [b"nonsense"]


class Grouping(ProcessingStrategyFactory[KafkaPayload]):
    """Finds out too late: its records are grouped already."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        def refuse(message: Message[Any]) -> None:
            raise InvalidMessage(P0, message.payload[0].offset)

        return BatchStep(5, 1000.0, RunTask(refuse, CommitOffsets(commit)))


def test_group_with_an_invalid_record_is_not_passed_over(broker: LocalBroker) -> None:
    with pytest.raises(FlowError, match="Check single records before they are grouped"):
        run_to_the_end(broker, Grouping(), dlq_policy=policy(broker))
    assert broker.committed("g") == {P0: 0}


# -- offsets wait for letters ---------------------------------------------------------------------------------------------


class Held:
    """A producer of somebody's own, with what it must have and no more; answers when told to."""

    def __init__(self) -> None:
        self.futures: list[Future[object]] = []

    def produce(self, value: BrokerValue[KafkaPayload], reason: str | None = None) -> Future[object]:
        self.futures.append(Future())
        return self.futures[-1]


def test_offset_waits_until_the_letter_is_safe(broker: LocalBroker) -> None:
    held: Any = Held()
    seen: list[object] = []

    def check(message: Message[KafkaPayload]) -> None:
        seen.append(message)
        if message.payload.value == b"5":
            raise InvalidMessage.from_value(message.value)

    with running(broker, Factory(check), commit_policy=IMMEDIATE, dlq_policy=DlqPolicy(held)) as run:
        run.wait_for(lambda: len(seen) == 10 and held.futures and broker.committed("g") == {P0: 5})
        held.futures[0].set_result(None)
        run.wait_for(lambda: broker.committed("g") == {P0: 10})


def test_letter_that_cannot_be_delivered_ends_the_run_uncommitted(broker: LocalBroker) -> None:
    held: Any = Held()
    with pytest.raises(DeliveryFailed, match="full"):
        _refuse_letter(broker, held)
    assert broker.committed("g") == {P0: 5}


def _refuse_letter(broker: LocalBroker, held: Any) -> None:
    with running(broker, refusing(5), commit_policy=IMMEDIATE, dlq_policy=DlqPolicy(held)) as run:
        run.wait_for(lambda: held.futures)
        held.futures[0].set_exception(DeliveryFailed("full"))
        run.wait_for(run.over.is_set)


def test_letter_that_cannot_even_be_sent_ends_the_run_uncommitted(broker: LocalBroker) -> None:
    class Broken(Held):
        def produce(self, value: BrokerValue[KafkaPayload], reason: str | None = None) -> Future[object]:
            raise BufferError("no room")

    broken: Any = Broken()
    with pytest.raises(BufferError, match="no room"):
        run_to_the_end(broker, refusing(5), dlq_policy=DlqPolicy(broken))
    assert broker.committed("g") == {P0: 5}


def test_original_that_is_not_kept_any_more_ends_the_run_uncommitted(broker: LocalBroker) -> None:
    class Late(ProcessingStrategyFactory[KafkaPayload]):
        def create_with_partitions(
            self, commit: Commit, partitions: Mapping[Partition, int]
        ) -> ProcessingStrategy[KafkaPayload]:
            def refuse_the_first(message: Message[KafkaPayload]) -> None:
                if message.payload.value == b"9":
                    raise InvalidMessage(P0, 0, needs_commit=False)

            return RunTask(refuse_the_first, CommitOffsets(lambda offsets, force=False: None))

    few = policy(broker, max_buffered_messages_per_partition=2)
    with pytest.raises(FlowError, match="max_buffered_messages_per_partition"):
        run_to_the_end(broker, Late(), dlq_policy=few)
    assert broker.committed("g") == {P0: 0}


class Busy(Passing):
    """Rejects the first offers, of which one comes with each turn of the loop, and one more with what comes behind."""

    def __init__(self, downstream: ProcessingStrategy[KafkaPayload], offers: int) -> None:
        super().__init__(downstream)
        self.offers = offers

    def submit(self, message: Message[KafkaPayload | FilteredPayload]) -> None:
        self.offers -= 1
        if self.offers >= 0:
            raise MessageRejected
        super().submit(message)


class Rejecting(Factory):
    """What is invalid is found behind a step that was full for a while."""

    def __init__(self, function: Callable[[Message[KafkaPayload]], object], offers: int) -> None:
        super().__init__(function)
        self.offers = offers

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        checked = super().create_with_partitions(commit, partitions)
        return RunTask(lambda message: message.payload, Busy(checked, self.offers))


class Careful(Held):
    """Finds out whether offsets were committed before their letters came."""

    def __init__(self, broker: LocalBroker) -> None:
        super().__init__()
        self.broker = broker
        self.too_early: list[int] = []

    def produce(self, value: BrokerValue[KafkaPayload], reason: str | None = None) -> Future[object]:
        committed = self.broker.committed("g").get(P0, 0)
        if committed > value.offset:
            self.too_early.append(value.offset)
        future = super().produce(value, reason)
        future.set_result(None)
        return future


@pytest.mark.parametrize("offers", range(12))
def test_nothing_is_committed_before_the_loop_heard_that_it_is_invalid(broker: LocalBroker, offers: int) -> None:
    """A step that hears of it while it is given another record tells it later."""
    careful: Any = Careful(broker)
    factory = Rejecting(refusing(0, 1, 4, 9).function, offers)
    run_to_the_end(broker, factory, dlq_policy=DlqPolicy(careful))
    assert (careful.too_early, len(careful.futures)) == ([], 4)
    assert broker.committed("g") == {P0: 10}


class TellsLate(ProcessingStrategy[KafkaPayload]):
    """Reports everything as done, and tells in one ``join`` after the other what was invalid."""

    def __init__(self, commit: Commit, seconds: float) -> None:
        self.commit, self.seconds = commit, seconds
        self.invalid: list[InvalidMessage] = []

    def submit(self, message: Message[KafkaPayload | FilteredPayload]) -> None:
        self.invalid.append(InvalidMessage.from_value(message))

    def poll(self) -> None: ...

    def close(self) -> None: ...

    def terminate(self) -> None: ...

    def join(self, timeout: float | None = None) -> None:
        self.commit({P0: len(self.invalid) + self.invalid[0].offset})
        SYSTEM_CLOCK.sleep(self.seconds)
        raise self.invalid.pop(0)


class TellingLate(ProcessingStrategyFactory[KafkaPayload]):
    def __init__(self) -> None:
        self.made: list[TellsLate] = []

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> TellsLate:
        self.made.append(TellsLate(commit, 0.05))
        return self.made[-1]


def test_nothing_is_committed_of_a_pipeline_that_had_no_time_to_tell_what_was_invalid(broker: LocalBroker) -> None:
    factory, held = TellingLate(), Careful(broker)
    given: Any = DlqPolicy(held)  # type: ignore[arg-type]  # a producer of somebody's own
    with running(broker, factory, dlq_policy=given, join_timeout=0.01) as run:
        run.wait_for(lambda: factory.made and len(factory.made[0].invalid) == 10)
    assert len(held.futures) == 1
    assert broker.committed("g") == {P0: 0}


# -- limits ---------------------------------------------------------------------------------------------------------------


def test_too_many_in_a_row_stop_the_run_and_the_next_one_begins_there(broker: LocalBroker) -> None:
    limit = DlqLimit(max_consecutive_count=3)
    with pytest.raises(DlqLimitExceeded, match=r"4 invalid records in a row on orders\[0\], 3 are allowed"):
        run_to_the_end(broker, refusing(2, 3, 4, 5, 6), dlq_policy=policy(broker, limit=limit))
    assert [int(letter["value"]) for letter in letters(broker, "dead")] == [2, 3, 4]
    assert broker.committed("g") == {P0: 5}
    run_to_the_end(broker, refusing(), dlq_policy=policy(broker, limit=limit))
    assert broker.committed("g") == {P0: 10}


def test_as_many_as_are_allowed_in_a_row_go_on(broker: LocalBroker) -> None:
    limit = DlqLimit(max_consecutive_count=3)
    run_to_the_end(broker, refusing(1, 2, 3, 5, 6, 7), dlq_policy=policy(broker, limit=limit))
    assert len(letters(broker, "dead")) == 6


def test_too_large_a_share_stops_the_run(broker: LocalBroker) -> None:
    limit = DlqLimit(max_invalid_ratio=0.25)
    with pytest.raises(DlqLimitExceeded, match=r"3 of 10 records of orders\[0\]"):
        run_to_the_end(broker, refusing(0, 7, 9), dlq_policy=policy(broker, limit=limit))
    assert [int(letter["value"]) for letter in letters(broker, "dead")] == [0, 7]
    assert broker.committed("g") == {P0: 9}


def test_limit_of_none_stops_at_the_first(broker: LocalBroker) -> None:
    with pytest.raises(DlqLimitExceeded):
        run_to_the_end(broker, refusing(0), dlq_policy=policy(broker, limit=DlqLimit(max_consecutive_count=0)))
    assert letters(broker, "dead") == []
    assert broker.committed("g") == {P0: 0}


def test_first_offset_stays_refused_when_a_later_record_is_refused_as_well() -> None:
    """The drain that follows the first refusal may come to another invalid record."""
    invalid = InvalidRecords(DlqPolicy(Never(), DlqLimit(max_consecutive_count=0)), SYSTEM_CLOCK)
    partition = Partition(Topic("t"), 0)
    invalid.read(MemoryRecords(list(range(5)), 0, partition, {partition: 5}))
    for offset in (0, 3):
        with pytest.raises(DlqLimitExceeded):
            invalid.handle(InvalidMessage(partition, offset))
    invalid.done({partition: 5})
    invalid.believe()
    assert invalid.safe() == {partition: 0}


class Never(DlqProducer):
    """A producer that nothing may come to."""

    def produce(self, value: Any, reason: str | None = None) -> Any:
        raise AssertionError(value)


def test_limit_stops_a_join_too(broker: LocalBroker) -> None:
    factory = FromPollFactory(in_poll=False)
    limited = policy(broker, limit=DlqLimit(max_invalid_ratio=0.1))
    with pytest.raises(DlqLimitExceeded), running(broker, factory, dlq_policy=limited) as run:
        run.wait_for(lambda: factory.made and factory.made[0].taken == 10)
    assert len(letters(broker, "dead")) == 1
    assert broker.committed("g") == {P0: 3}


# -- what they are made of ------------------------------------------------------------------------------------------------


def test_invalid_message_says_what_and_where() -> None:
    invalid = InvalidMessage(P0, 7)
    assert (invalid.partition, invalid.offset, invalid.needs_commit, invalid.reason) == (P0, 7, True, None)
    assert str(InvalidMessage(P0, 7, reason="odd")) == "invalid record at orders[0] offset 7: odd"
    again = pickle.loads(pickle.dumps(InvalidMessage(P0, 7, False, "odd")))  # noqa: S301  # what was just pickled
    assert (again.partition, again.offset, again.needs_commit, again.reason) == (P0, 7, False, "odd")


def test_invalid_message_is_made_from_a_value() -> None:
    value = BrokerValue(KafkaPayload(None, b"v"), P0, 7)
    for given in (value, Message(value)):
        invalid = InvalidMessage.from_value(given, reason="odd")
        assert (invalid.partition, invalid.offset, invalid.needs_commit, invalid.reason) == (P0, 7, True, "odd")


@pytest.mark.parametrize("value", [Value(1, {P0: 3}), Message(Value(1, {P0: 3})), 5, None])
def test_only_a_single_record_is_an_invalid_one(value: object) -> None:
    with pytest.raises(TypeError, match="from_value takes a BrokerValue"):
        InvalidMessage.from_value(value)


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda _: InvalidMessage("orders", 1), TypeError, "partition must be a Partition, not 'orders'"),  # type: ignore[arg-type]  # misuse
    (lambda _: InvalidMessage(P0, "1"), TypeError, "offset must be a whole number, not '1'"),  # type: ignore[arg-type]  # misuse
    (lambda _: DlqLimit(max_invalid_ratio=1.5), ValueError, "max_invalid_ratio must be from 0 to 1, but is 1.5"),
    (lambda _: DlqLimit(max_invalid_ratio=-0.1), ValueError, "max_invalid_ratio"),
    (lambda _: DlqLimit(max_invalid_ratio="half"), TypeError, "max_invalid_ratio .*'half'"),  # type: ignore[arg-type]  # misuse
    (lambda _: DlqLimit(max_consecutive_count=-1), ValueError, "max_consecutive_count must not be negative, but is -1"),
    (lambda _: DlqLimit(max_consecutive_count=1.5), TypeError, "max_consecutive_count .*1.5"),  # type: ignore[arg-type]  # misuse
    (lambda _: DlqPolicy("dead"), TypeError, "producer .*'dead'"),  # type: ignore[arg-type]  # misuse
    (lambda broker: policy(broker, limit=3), TypeError, "limit must be a DlqLimit, or None, not 3"),
    (
        lambda broker: policy(broker, max_buffered_messages_per_partition=0),
        ValueError,
        "max_buffered_messages_per_partition must be at least 1, but is 0",
    ),
    (lambda broker: KafkaDlqProducer(broker, DEAD), TypeError, "producer must be what broker.producer"),
    (lambda broker: KafkaDlqProducer(broker.producer(), "dead"), TypeError, "topic .*'dead'"),  # type: ignore[arg-type]  # misuse
]


@pytest.mark.parametrize(("make", "error", "text"), WRONG)
def test_wrong_arguments_are_named(broker: LocalBroker, make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make(broker)


def test_arguments_may_be_positional_as_in_arroyo(broker: LocalBroker) -> None:
    limit = DlqLimit(0.5, 3)
    assert (limit.max_invalid_ratio, limit.max_consecutive_count) == (0.5, 3)
    producer = KafkaDlqProducer(broker.producer(), TOPIC)
    given = DlqPolicy(producer, limit, 100)
    assert (given.producer, given.limit, given.max_buffered_messages_per_partition) == (producer, limit, 100)
    assert (DlqPolicy(producer).limit, DlqPolicy(producer).max_buffered_messages_per_partition) == (None, None)


def test_compiled_flow_deals_with_failing_records_by_itself(broker: LocalBroker) -> None:
    flow = broker.source("orders", group_id="g", decode=int) | map_(lambda n: 1 // (n - 5)) | sink(lambda _: None)
    with pytest.raises(StepFailed):
        run_to_the_end(broker, flow.compile(), dlq_policy=policy(broker))
    assert (letters(broker, "dead"), broker.committed("g")) == ([], {P0: 5})
