"""FilterStep: refused messages move their offsets, and a policy thins that out."""

from __future__ import annotations

from flowdsl.strategies import FilterStep, Message, Partition
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import IMMEDIATE, CommitPolicy
from tests.strategies.doubles import P0, P1, Blocked, Recorder, at, filtered


def even(message: Message[int]) -> bool:
    return message.payload % 2 == 0


def build(end: Recorder, policy: CommitPolicy | None = None) -> tuple[FilterStep[int], VirtualClock]:
    clock = VirtualClock()
    return FilterStep(even, end, policy, clock=clock), clock


def ends(end: Recorder) -> list[dict[Partition, int]]:
    return [dict(message.committable) for message in end.messages]


def test_without_a_policy_each_refused_offset_travels_at_once() -> None:
    end = Recorder()
    step, _ = build(end)
    for n in range(4):
        step.submit(at(n, n))
    assert end.payloads == [0, 2]
    assert ends(end) == [{P0: 1}, {P0: 2}, {P0: 3}, {P0: 4}]


def test_what_was_filtered_upstream_is_handed_on_without_a_policy_too() -> None:
    end = Recorder()
    step, _ = build(end)
    step.submit(filtered(6))
    assert end.messages == [filtered(6)]


def test_immediate_hands_on_each_offset_in_the_same_submit() -> None:
    end = Recorder()
    step, _ = build(end, IMMEDIATE)
    step.submit(at(0, 1))
    assert end.messages == [filtered(0)]


def test_a_policy_by_number_puts_offsets_together() -> None:
    end = Recorder()
    step, _ = build(end, CommitPolicy(None, 3))
    step.submit(at(0, 1))
    step.submit(at(4, 1, P1))
    assert end.messages == []
    step.submit(filtered(1))
    assert ends(end) == [{P0: 2, P1: 5}]


def test_a_policy_by_time_fires_on_an_idle_topic() -> None:
    end = Recorder()
    step, clock = build(end, CommitPolicy(5.0, None))
    clock.advance(100.0)
    step.submit(at(0, 1))
    assert step.next_deadline() == 105.0
    step.poll()
    assert end.messages == []
    clock.advance(5.0)
    step.poll()
    assert ends(end) == [{P0: 1}]
    assert step.next_deadline() is None


def test_a_passing_message_takes_the_place_of_offsets_before_it() -> None:
    end = Recorder()
    step, _ = build(end, CommitPolicy(None, 10))
    step.submit(at(0, 1))
    step.submit(at(3, 1, P1))
    step.submit(at(1, 2))
    step.close()
    step.join()
    assert ends(end) == [{P0: 2}, {P1: 4}]


def test_offsets_that_were_put_together_leave_behind_data_that_waits() -> None:
    end = Blocked()
    step, _ = build(end, IMMEDIATE)
    step.submit(at(0, 2))
    step.close()
    end.open = True
    step.join()
    assert ends(end) == [{P0: 1}]


def test_join_leaves_no_refused_offset_behind() -> None:
    end = Recorder()
    step, _ = build(end, CommitPolicy(60.0, 1_000))
    for n in range(7):
        step.submit(at(n, 1))
    assert end.committed == {}
    step.close()
    step.join()
    assert end.committed == {P0: 7}
