"""``retry`` at a broker's sink: what the broker refused is produced again, and its offset waits for that."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest

from flowdsl import LocalBroker, Partition, StepFailed, Topic, dead_letter, immediately, retry
from flowdsl.brokers.protocols import Delivery, Outgoing
from flowdsl.compiler.compiling import prepare
from flowdsl.compiler.factory import new_run
from flowdsl.errors import BrokerError, DeliveryFailed
from flowdsl.testing import VirtualClock
from flowdsl.types import Message, Record
from tests.stages.rows import Rows

PATIENCE = 60.0
PLACE = Partition(Topic("orders"), 0)


@pytest.fixture
def broker() -> LocalBroker:
    """With four orders, and a topic to which the one for partition 1 cannot go."""
    broker = LocalBroker()
    broker.write("orders", ["0a", "0b", "1c", "0d"])
    broker.create_topic("out")
    return broker


def by_name(value: bytes) -> int:
    return int(value[:1])


def flow_to_out(broker: LocalBroker, **given: Any) -> Any:
    return broker.source("orders", group_id="g") | broker.sink("out", partition=by_name, name="out", **given)


def values(records: list[Record[bytes | None]]) -> list[bytes | None]:
    return [record.value for record in records]


def test_record_that_was_refused_is_produced_again_until_the_broker_takes_it(broker: LocalBroker):
    flow = flow_to_out(broker, on_error=retry(100_000, first=0.005, most=0.005))
    with flow.start(commit=immediately) as handle:
        until = monotonic() + PATIENCE
        while len(broker.read("out")) < 3 and monotonic() < until:
            handle.join(0.01)
        assert values(broker.read("out")) == [b"0a", b"0b", b"0d"]
        getattr(broker.client, "storage").grow("out", 2)  # noqa: B009  # for tests alone
        while broker.committed("g") != {PLACE: 4} and monotonic() < until:
            handle.join(0.01)
        assert values(broker.read("out")) == [b"0a", b"0b", b"0d", b"1c"]
        assert handle.stop().delivered == 4
    assert broker.committed("g") == {PLACE: 4}


def test_after_the_last_attempt_the_run_stops_with_what_came_before_committed(broker: LocalBroker):
    with pytest.raises(StepFailed) as failed:
        flow_to_out(broker, on_error=retry(3, first=0.005)).run(until="end", timeout=PATIENCE)
    assert (failed.value.step, failed.value.offset, failed.value.attempts) == ("out", 2, 3)
    assert isinstance(failed.value.__cause__, DeliveryFailed)
    assert broker.committed("g") == {PLACE: 2}


def test_after_the_last_attempt_the_original_is_a_dead_letter(broker: LocalBroker):
    broker.write("orders", ["1e", "0f"])
    policy = retry(2, first=0.005, then=dead_letter(broker.sink("dead")))
    stats = flow_to_out(broker, on_error=policy).run(until="end", timeout=PATIENCE)
    dead = broker.read("dead")
    assert values(dead) == [b"1c", b"1e"]
    assert [dict(record.headers)["flowdsl-attempts"] for record in dead] == [b"2", b"2"]
    assert values(broker.read("out")) == [b"0a", b"0b", b"0d", b"0f"]
    assert (stats.delivered, stats.failed) == (4, 2)
    assert broker.committed("g") == {PLACE: 6}


def test_other_errors_than_those_worth_it_are_not_tried_again(broker: LocalBroker):
    policy = retry(9, first=PATIENCE, only=TimeoutError, then="skip")
    assert flow_to_out(broker, on_error=policy).run(until="end", timeout=PATIENCE).failed == 1
    assert broker.committed("g") == {PLACE: 4}


def test_a_stop_does_not_wait_for_what_is_to_be_produced_again_much_later(broker: LocalBroker):
    handle = flow_to_out(broker, on_error=retry(3, first=10 * PATIENCE)).start(stop_timeout=20 * PATIENCE)
    until = monotonic() + PATIENCE
    while len(broker.read("out")) < 3 and monotonic() < until:
        handle.join(0.01)
    handle.stop(timeout=PATIENCE)
    assert broker.committed("g") == {PLACE: 2}


class Desk:
    """The test is the broker: it has room for so many records, and answers the oldest when it likes."""

    def __init__(self) -> None:
        self.room = 2
        self.sent: deque[tuple[Delivery, int]] = deque()

    def expect(self, topic: str | None, partition: int | None = None) -> None:
        """Any topic will do."""

    def send(self, records: Sequence[Outgoing], delivery: Delivery, first: int = 0) -> int:
        taken = min(len(records), self.room - len(self.sent))
        self.sent += [(delivery, first + index) for index in range(taken)]
        delivery.waiting += taken
        return taken

    def poll(self) -> None:
        """Answers are given at once."""

    def answer(self, error: BrokerError | None = None) -> None:
        delivery, index = self.sent.popleft()
        delivery.report(index, error)


def test_what_finds_no_room_to_be_produced_again_waits_for_answers_and_for_no_moment_that_is_over():
    clock, desk, committed = VirtualClock(), Desk(), dict[Partition, int]()
    broker = LocalBroker()
    flow = broker.source("orders", group_id="g") | broker.sink("out", on_error=retry(3, first=1.0, most=1.0))
    run = new_run(clock, producer=lambda *_: desk)
    stages = prepare(flow.plan, run).create_with_partitions(
        lambda offsets, force=False: committed.update(offsets),
        {PLACE: 0},  # see Commit
    )
    stages.submit(Message(Rows([(PLACE, 0), (PLACE, 1)], {PLACE: 2})))
    for _ in range(2):
        desk.answer(DeliveryFailed("refused"))
    stages.poll()
    assert 0.0 < (stages.next_deadline() or 0.0) - clock() <= 1.0
    desk.room = 1
    clock.advance(1.0)
    stages.poll()
    assert (len(desk.sent), stages.next_deadline()) == (1, None)
    desk.answer()
    stages.poll()
    assert (len(desk.sent), committed) == (1, {})
    desk.answer()
    stages.poll()
    assert committed == {PLACE: 2}
    run.shutdown()
