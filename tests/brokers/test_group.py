"""The coordinator by itself: who owns what, after anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.brokers.local.deal import deal
from flowdsl.brokers.local.group import Group
from flowdsl.errors import BrokerError, Fenced
from flowdsl.testing.virtual import VirtualClock
from flowdsl.types import Partition, Topic

PATIENCE = 10.0


def partitions(count: int) -> frozenset[Partition]:
    return frozenset(Partition(Topic("t"), index) for index in range(count))


class Crowd:
    """Members that do as they are told, and the check that nobody reads what another one reads."""

    def __init__(self, *, eager: bool) -> None:
        self.clock = VirtualClock()
        self.group = Group("g", self.clock, lambda: None)
        self.eager = eager
        self.wanted = partitions(5)
        self.held: dict[int, set[Partition]] = {}
        self.silent: dict[int, set[Partition]] = {}

    def join(self) -> None:
        member = self.group.new_id()
        self.group.join(member, self.wanted, PATIENCE, eager=self.eager)
        self.held[member] = set()

    def leave(self, at: int) -> None:
        if self.held:
            member = list(self.held)[at % len(self.held)]
            del self.held[member]
            self.group.leave(member)

    def fall_silent(self, at: int) -> None:
        if self.held:
            member = list(self.held)[at % len(self.held)]
            self.silent[member] = self.held.pop(member)

    def beat(self, at: int) -> None:
        """One member reads once: it obeys one order."""
        if not self.held:
            return
        member = list(self.held)[at % len(self.held)]
        held = self.held[member]
        order = self.group.heartbeat(member, self.wanted)
        if order is None:
            del self.held[member]
            self.join()
            return
        held -= order.revoke
        self.group.release(member, order.revoke)
        assert not any(order.assign & other for other in self.held.values()), "two owners at a time"
        if self.eager and order.assign:
            assert all(set(self.group.owners) >= other for other in self.held.values())
        held |= order.assign

    def grow(self) -> None:
        self.wanted = partitions(len(self.wanted) + 1)

    def settle(self) -> None:
        for _ in range(40):
            for at in range(len(self.held)):
                self.beat(at)


ACTIONS: dict[str, Callable[[Crowd, int], None]] = {
    "join": lambda crowd, _: crowd.join(),
    "leave": Crowd.leave,
    "silent": Crowd.fall_silent,
    "beat": Crowd.beat,
    "grow": lambda crowd, _: crowd.grow(),
    "wait": lambda crowd, at: crowd.clock.advance(at / 2),
}


@given(
    eager=st.booleans(),
    actions=st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.integers(0, 7)), max_size=60),
)
def test_every_partition_ends_with_one_owner_and_never_has_two(eager: bool, actions: list[tuple[str, int]]) -> None:
    crowd = Crowd(eager=eager)
    crowd.join()
    for action, at in actions:
        ACTIONS[action](crowd, at)
    if not crowd.held:
        crowd.join()
    crowd.settle()
    crowd.clock.advance(PATIENCE - 1)
    crowd.settle()
    crowd.clock.advance(2)  # whoever fell silent is expelled now at the latest
    crowd.settle()
    owned = [partition for held in crowd.held.values() for partition in held]
    assert sorted(owned) == sorted(crowd.wanted)
    sizes = [len(held) for held in crowd.held.values()]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 6), st.integers(0, 20), st.randoms())
def test_deal_is_balanced_and_moves_only_what_balance_asks_for(members: int, count: int, random: object) -> None:
    before = deal(dict.fromkeys(range(members), partitions(count)), {})
    after = deal(dict.fromkeys(range(members + 1), partitions(count)), before)
    moved = {partition for partition in after if after[partition] != before[partition]}
    assert len(moved) == count // (members + 1)
    assert {after[partition] for partition in moved} <= {members}


def test_deal_gives_partitions_only_to_those_who_want_them() -> None:
    both, one = partitions(4), frozenset(list(partitions(4))[:2])
    dealt = deal({1: both, 2: one}, {})
    assert set(dealt) == both
    assert {partition for partition, member in dealt.items() if member == 2} <= one


def settled(members: int, *, eager: bool = False) -> tuple[Crowd, list[int]]:
    crowd = Crowd(eager=eager)
    for _ in range(members):
        crowd.join()
    crowd.settle()
    return crowd, list(crowd.held)


def test_cooperative_members_keep_what_they_need_not_give_away() -> None:
    crowd, (first,) = settled(1)
    crowd.join()
    order = crowd.group.heartbeat(first, crowd.wanted)
    assert order is not None
    assert len(order.revoke) == 2
    assert not order.assign


def test_eager_members_give_up_everything_before_anybody_gets_anything() -> None:
    crowd, (first, second) = settled(2, eager=True)
    crowd.join()
    third = list(crowd.held)[-1]
    for member in (first, second):
        order = crowd.group.heartbeat(member, crowd.wanted)
        assert order is not None
        assert order.revoke == frozenset(crowd.held[member])
        waiting = crowd.group.heartbeat(third, crowd.wanted)
        assert waiting is not None
        assert not waiting.assign
        crowd.group.release(member, order.revoke)
        crowd.held[member].clear()
    crowd.settle()
    assert sorted(len(held) for held in crowd.held.values()) == [1, 2, 2]


def test_members_of_one_group_rebalance_by_one_protocol() -> None:
    crowd, _ = settled(1)
    with pytest.raises(BrokerError, match=r"'g'.*cooperative.*eager"):
        crowd.group.join(crowd.group.new_id(), crowd.wanted, PATIENCE, eager=True)


def test_commit_of_an_expelled_member_is_refused() -> None:
    crowd, (member,) = settled(1)
    crowd.clock.advance(PATIENCE + 1)
    error = crowd.group.commit(member, {Partition(Topic("t"), 0): 3})
    assert isinstance(error, Fenced)
    assert crowd.group.committed() == {}


def test_commit_for_a_released_partition_is_refused() -> None:
    crowd, (first, second) = settled(2)
    foreign = next(iter(crowd.held[second]))
    assert isinstance(crowd.group.commit(first, {foreign: 3}), Fenced)
    assert crowd.group.commit(second, {foreign: 3}) is None
    assert crowd.group.committed() == {foreign: 3}


def test_stale_commits_are_accepted_where_that_is_asked_for() -> None:
    clock = VirtualClock()
    group = Group("g", clock, lambda: None, accepts_stale_commits=True)
    member = group.new_id()
    group.join(member, partitions(1), PATIENCE, eager=False)
    clock.advance(PATIENCE + 1)
    assert group.commit(member, {Partition(Topic("t"), 0): 3}) is None
    assert group.committed() == {Partition(Topic("t"), 0): 3}
