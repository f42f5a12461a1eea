"""Produce: offsets move with acknowledgements, in order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowdsl.errors import DeliveryFailed
from flowdsl.strategies import BrokerValue, KafkaPayload, Message, MessageRejected, Produce, Topic
from flowdsl.testing.virtual import VirtualClock
from tests.strategies.doubles import P0, Answering, Blocked, NeedsPolls, Recorder, at, filtered

OUT = Topic("out")


def record(offset: int) -> Message[KafkaPayload]:
    return at(offset, KafkaPayload(b"key", str(offset).encode(), [("h", b"1")]))


class Late(VirtualClock):
    """Has the broker answer once so many seconds have passed."""

    def __init__(self, producer: Answering, when: float) -> None:
        super().__init__()
        self._producer, self._when = producer, when

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._producer.silent = self() < self._when


def test_a_message_goes_on_unchanged_once_it_is_acknowledged() -> None:
    end, producer = Recorder(), Answering(silent=True)
    step = Produce(producer, OUT, end)
    message = Message(BrokerValue(KafkaPayload(b"k", b"v"), P0, 5, datetime(2024, 5, 1, tzinfo=UTC)))
    step.submit(message)
    step.poll()
    assert producer.sent == [(OUT, KafkaPayload(b"k", b"v"))]
    assert end.messages == []
    producer.answer(0)
    step.poll()
    assert end.messages == [message]


def test_acknowledgements_out_of_order_move_only_the_prefix() -> None:
    end, producer = Recorder(), Answering(silent=True)
    step = Produce(producer, OUT, end)
    for n in range(3):
        step.submit(record(n))
    producer.answer(2)
    producer.answer(0)
    step.poll()
    assert end.committed == {P0: 1}
    producer.answer(1)
    step.poll()
    assert end.committed == {P0: 3}


def test_an_acknowledged_record_that_downstream_rejects_is_kept() -> None:
    end, producer = Blocked(), Answering()
    step = Produce(producer, OUT, end)
    step.submit(record(0))
    step.poll()
    step.poll()
    end.open = True
    step.poll()
    assert end.messages == [record(0)]


def test_join_waits_for_what_is_under_way() -> None:
    end, producer = NeedsPolls(2), Answering(silent=True)
    clock = Late(producer, 3.0)
    step = Produce(producer, OUT, end, clock=clock)
    for n in range(4):
        step.submit(record(n))
    step.close()
    step.join(5.0)
    assert end.committed == {P0: 4}
    assert 3.0 <= clock() < 3.5
    assert len(producer.sent) == 4


def test_join_gives_up_at_its_deadline_and_late_answers_reach_nothing() -> None:
    end, producer, clock = Recorder(), Answering(silent=True), VirtualClock()
    step = Produce(producer, OUT, end, clock=clock)
    step.submit(record(0))
    step.join(5.0)
    assert clock() == pytest.approx(5.0)
    assert end.joined
    producer.answer(0)
    step.poll()
    assert end.messages == []


def test_a_full_buffer_rejects_before_anything_is_sent() -> None:
    end, producer = Recorder(), Answering(silent=True)
    step = Produce(producer, OUT, end, 2)
    step.submit(record(0))
    step.submit(record(1))
    with pytest.raises(MessageRejected):
        step.submit(record(2))
    assert len(producer.sent) == 2


def test_a_full_queue_of_the_producer_rejects_and_the_record_is_sent_once_later() -> None:
    end, producer = Recorder(), Answering(silent=True, room=1)
    step = Produce(producer, OUT, end)
    step.submit(record(0))
    with pytest.raises(MessageRejected):
        step.submit(record(1))
    producer.silent = False
    step.submit(record(1))
    step.join()
    assert [payload.value for _, payload in producer.sent] == [b"0", b"1"]
    assert end.committed == {P0: 2}


def test_a_failed_delivery_is_raised_from_poll_after_what_came_before_it() -> None:
    end, producer = Recorder(), Answering(silent=True)
    step = Produce(producer, OUT, end)
    for n in range(3):
        step.submit(record(n))
    producer.answer(2)
    producer.answer(1, DeliveryFailed("too large"))
    step.poll()
    producer.answer(0)
    with pytest.raises(DeliveryFailed, match="too large"):
        step.poll()
    assert end.committed == {P0: 1}
    step.join(1.0)
    assert end.committed == {P0: 1}
    assert end.joined


def test_a_failed_delivery_is_raised_from_join_and_downstream_is_joined() -> None:
    end, producer = Recorder(), Answering(silent=True)
    step = Produce(producer, OUT, end)
    step.submit(record(0))
    step.submit(record(1))
    producer.answer(0)
    producer.answer(1, DeliveryFailed("no"))
    step.close()
    with pytest.raises(DeliveryFailed):
        step.join(1.0)
    assert end.committed == {P0: 1}
    assert end.joined


def test_filtered_messages_are_not_sent_and_keep_their_place() -> None:
    end, producer = Recorder(), Answering(silent=True)
    step = Produce(producer, OUT, end)
    step.submit(filtered(0))
    assert end.committed == {P0: 1}
    step.submit(record(1))
    step.submit(filtered(2))
    step.poll()
    assert end.committed == {P0: 1}
    producer.answer(0)
    step.poll()
    assert end.committed == {P0: 3}
    assert len(producer.sent) == 1


def test_a_tombstone_survives() -> None:
    end, producer = Recorder(), Answering()
    step = Produce(producer, OUT, end)
    step.submit(at(0, KafkaPayload(b"k", None)))
    step.poll()
    assert producer.sent == [(OUT, KafkaPayload(b"k", None))]
    assert end.payloads == [KafkaPayload(b"k", None)]


def test_a_producer_without_poll_will_do() -> None:
    inner = Answering(silent=True)

    class Bare:
        produce = inner.produce

    end = Recorder()
    step = Produce(Bare(), OUT, end)
    step.submit(record(0))
    inner.answer(0)
    step.poll()
    assert end.payloads == [record(0).payload]


def test_a_buffer_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="max_buffer_size must be at least 1, but is 0"):
        Produce(Answering(), OUT, Recorder(), 0)
