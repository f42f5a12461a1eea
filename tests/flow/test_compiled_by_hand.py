"""``compile``: a flow as a factory for a loop of somebody's own, which submits single messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any

import pytest

from flowdsl import (
    JSON,
    ClosedFlow,
    FlowDefinitionError,
    LocalBroker,
    Partition,
    StepFailed,
    Topic,
    batch,
    broadcast,
    dead_letter,
    filter_,
    from_iterable,
    map_,
    sink,
    through,
    with_record,
)
from flowdsl.processing import IMMEDIATE
from flowdsl.strategies import (
    FILTERED_PAYLOAD,
    BrokerValue,
    Commit,
    CommitOffsets,
    FilteredPayload,
    KafkaPayload,
    Message,
    MessageRejected,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    Value,
)
from tests.processing.running import run_to_the_end

P0, P1 = Partition(Topic("orders"), 0), Partition(Topic("orders"), 1)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PATIENCE = 60.0


class ForeignLoop:
    """As simple as one can write it: submit, poll, and note what is committed."""

    def __init__(self, factory: ProcessingStrategyFactory[Any], partitions: Mapping[Partition, int]) -> None:
        self.factory = factory
        self.committed: dict[Partition, int] = {}
        self.calls: list[dict[Partition, int]] = []
        self.strategy: ProcessingStrategy[Any] = factory.create_with_partitions(self.commit, partitions)

    def commit(self, offsets: Mapping[Partition, int], force: bool = False) -> None:
        self.calls.append(dict(offsets))
        self.committed.update(offsets)

    def feed(self, messages: Sequence[Message[Any]]) -> None:
        for message in messages:
            self.strategy.poll()
            while True:
                try:
                    self.strategy.submit(message)
                    break
                except MessageRejected:
                    self.strategy.poll()

    def end(self) -> None:
        self.strategy.close()
        self.strategy.join(10.0)
        self.factory.shutdown()


def drive(flow: ClosedFlow[Any], messages: Sequence[Message[Any]]) -> dict[Partition, int]:
    loop = ForeignLoop(flow.compile(), {P0: 0, P1: 0})
    loop.feed(messages)
    loop.end()
    return loop.committed


def raw(offset: int, value: Any, partition: Partition = P0) -> Message[Any]:
    return Message(BrokerValue(value, partition, offset, NOON))


def full(offset: int, value: bytes | None) -> Message[KafkaPayload]:
    return Message(BrokerValue(KafkaPayload(b"key", value, [("h", b"1")]), P0, offset, NOON))


def orders(broker: LocalBroker | None = None, **given: Any) -> Any:
    return (broker or LocalBroker()).source("orders", group_id="g", **given)


@pytest.mark.parametrize("message", [raw, full])
def test_payload_is_a_raw_value_or_a_kafka_payload(message: Callable[[int, bytes], Message[Any]]) -> None:
    out: list[Any] = []
    flow = orders(decode=JSON) | filter_(lambda n: n % 2) | map_(lambda n: n * 10) | sink(out.append)
    assert drive(flow, [message(n, b"%d" % n) for n in range(5)]) == {P0: 5}
    assert out == [10, 30]


def test_every_record_is_committed_as_it_is_done() -> None:
    loop = ForeignLoop((orders() | sink(lambda _: None)).compile(), {P0: 7})
    loop.feed([raw(7, b"a"), raw(8, b"b"), raw(12, b"c")])
    assert [offsets for offsets in loop.calls if offsets] == [{P0: 8}, {P0: 9}, {P0: 13}]
    loop.end()


class Committing:
    """Ends a flow in a strategy that commits by itself."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[FilteredPayload | bytes]:
        return CommitOffsets(commit)


def test_what_an_end_of_ones_own_commits_is_told_with_the_next_poll() -> None:
    loop = ForeignLoop((orders() | through(Committing())).compile(), {P0: 7})
    loop.feed([raw(7, b"a"), raw(8, b"b")])
    loop.strategy.poll()
    assert loop.committed == {P0: 9}
    loop.end()


def test_record_is_what_was_submitted() -> None:
    out: list[Any] = []
    drive(orders() | with_record() | map_(lambda pair: pair[1]) | sink(out.append), [full(3, b"v"), raw(4, b"w")])
    one, other = out
    assert (one.topic, one.partition, one.offset, one.key, one.value) == ("orders", 0, 3, b"key", b"v")
    assert (one.headers, one.timestamp) == ((("h", b"1"),), NOON)
    assert (other.offset, other.key, other.value, other.headers, other.timestamp) == (4, None, b"w", (), NOON)


def test_keys_headers_and_timestamps_are_inherited() -> None:
    broker = LocalBroker()
    flow = orders(broker) | map_(bytes.upper) | broker.sink("copies")
    assert drive(flow, [full(0, b"a"), raw(1, b"b")]) == {P0: 2}
    one, other = broker.read("copies")
    assert (one.key, one.value, one.headers, one.timestamp) == (b"key", b"A", (("h", b"1"),), NOON)
    assert (other.key, other.value, other.headers, other.timestamp) == (None, b"B", (), NOON)


def test_batch_holds_offsets_and_leaves_by_its_time() -> None:
    out: list[Any] = []
    loop = ForeignLoop((orders() | batch(100, within=3.0) | sink(out.append)).compile(), {P0: 0})
    loop.feed([raw(0, b"a"), raw(1, b"b")])
    assert (out, loop.committed) == ([], {})
    until = monotonic() + PATIENCE
    while not out and monotonic() < until:
        sleep(0.01)
        loop.strategy.poll()
    assert (out, loop.committed) == ([[b"a", b"b"]], {P0: 2})
    loop.feed([raw(2, b"c")])
    loop.end()
    assert (out[1:], loop.committed) == ([[b"c"]], {P0: 3})


def test_terminated_pipeline_commits_nothing_of_what_it_held() -> None:
    loop = ForeignLoop((orders() | batch(100) | sink(lambda _: None)).compile(), {P0: 0})
    loop.feed([raw(0, b"a")])
    loop.strategy.terminate()
    loop.strategy.terminate()
    assert loop.committed == {}


def test_filtered_messages_carry_their_offsets() -> None:
    out: list[Any] = []
    messages = [raw(0, b"a"), Message(Value(FILTERED_PAYLOAD, {P0: 5})), Message(BrokerValue(FILTERED_PAYLOAD, P0, 5))]
    assert drive(orders() | sink(out.append), messages) == {P0: 6}
    assert out == [b"a"]


def test_value_over_several_partitions_completes_them_all() -> None:
    out: list[Any] = []
    assert drive(orders() | sink(out.append), [Message(Value(b"a", {P0: 3, P1: 9}))]) == {P0: 3, P1: 9}
    assert out == [b"a"]


def test_partitions_are_committed_each_for_itself() -> None:
    flow = orders() | batch(2) | sink(lambda _: None)
    messages = [raw(0, b"a"), raw(0, b"b", P1), raw(1, b"c"), raw(1, b"d", P1)]
    assert drive(flow, messages) == {P0: 2, P1: 2}


def test_failing_record_stops_with_itself_uncommitted() -> None:
    loop = ForeignLoop((orders(decode=JSON) | map_(lambda n: 1 // n) | sink(lambda _: None)).compile(), {P0: 0})
    with pytest.raises(StepFailed) as raised:
        loop.feed([raw(0, b"1"), raw(1, b"0"), raw(2, b"1")])
    assert (raised.value.topic, raised.value.offset, raised.value.value) == ("orders", 1, b"0")
    assert loop.committed == {P0: 1}
    loop.strategy.terminate()


def test_tombstone_is_a_failing_record() -> None:
    for message in (full(0, None), raw(0, None)):
        with pytest.raises(StepFailed, match="null"):
            drive(orders() | sink(lambda _: None), [message])


def test_policies_of_steps_hold() -> None:
    broker, out = LocalBroker(), list[Any]()
    step = map_(lambda n: 1 // n, on_error=dead_letter(broker.sink("dead")))
    flow = orders(broker, decode=JSON) | step | sink(out.append)
    assert drive(flow, [full(0, b"1"), full(1, b"0"), full(2, b"1")]) == {P0: 3}
    assert out == [1, 1]
    (letter,) = broker.read("dead")
    assert (letter.key, letter.value, dict(letter.headers)["flowdsl-offset"]) == (b"key", b"0", b"1")


def test_branches_commit_when_all_are_done() -> None:
    out: list[Any] = []
    flow = orders() | broadcast(sink(out.append), batch(2) | sink(out.append))
    loop = ForeignLoop(flow.compile(), {P0: 0})
    loop.feed([raw(0, b"a")])
    assert loop.committed == {}
    loop.feed([raw(1, b"b")])
    assert loop.committed == {P0: 2}
    loop.end()
    assert out == [b"a", b"b", [b"a", b"b"]]


def test_values_in_memory_are_replaced_by_what_is_submitted() -> None:
    out: list[Any] = []
    assert drive(from_iterable([0]) | sink(out.append), [raw(0, {"any": "value"})]) == {P0: 1}
    assert out == [{"any": "value"}]


def test_each_assignment_gets_a_pipeline_of_its_own() -> None:
    out: list[Any] = []
    factory = (orders() | batch(2) | sink(out.append)).compile()
    one, other = ForeignLoop(factory, {P0: 0}), ForeignLoop(factory, {P0: 0})
    one.feed([raw(0, b"a")])
    other.feed([raw(0, b"b"), raw(1, b"c")])
    assert out == [[b"b", b"c"]]
    one.strategy.terminate()
    other.end()


def test_stream_processor_runs_a_compiled_flow() -> None:
    out: list[Any] = []
    with LocalBroker() as broker:
        broker.write("orders", range(100), encode=str)
        flow = orders(broker, decode=JSON) | batch(10) | sink(out.append)
        run_to_the_end(broker, flow.compile(), group_id="other", commit_policy=IMMEDIATE)
        assert [number for numbers in out for number in numbers] == list(range(100))
        assert broker.committed("other") == {P0: 100}


def test_compiled_flow_runs_inside_another_flow() -> None:
    class Inner:
        def create_with_partitions(self, commit: Any, partitions: Any) -> ProcessingStrategy[Any]:
            return inner.create_with_partitions(commit, partitions)

    out: list[Any] = []
    inner = (from_iterable([0]) | map_(lambda n: n + 1) | sink(out.append)).compile()
    with LocalBroker() as broker:
        broker.write("orders", range(10), encode=str)
        (orders(broker, decode=JSON) | through(Inner())).run(until="end")
        assert out == list(range(1, 11))
        assert broker.committed("g") == {P0: 10}


def test_faults_are_refused_by_compile() -> None:
    open_flow: Any = orders()
    with pytest.raises(FlowDefinitionError, match="the flow is open and cannot compile"):
        open_flow.compile()


@pytest.mark.parametrize(
    ("message", "error", "text"),
    [
        (Message(Value(b"a", {})), ValueError, "its committable is empty"),
        (Message(b"a"), TypeError, "takes a Message with a BrokerValue, not one with b'a'"),  # type: ignore[arg-type]  # misuse
    ],
)
def test_message_that_stands_for_no_record_is_refused_untouched(
    message: Message[Any], error: type[Exception], text: str
) -> None:
    out: list[Any] = []
    loop = ForeignLoop((orders() | sink(out.append)).compile(), {P0: 0})
    with pytest.raises(error, match=text):
        loop.feed([message])
    assert (out, loop.committed) == ([], {})
    loop.strategy.terminate()
