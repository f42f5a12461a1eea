"""What is inside a hand-written strategy: which records entered it, which left, and what is done because of that.

A record that leaves with a value is done with it. One that leaves without, filtered or committed by the strategy
itself, is *let go* first: the strategy may still call it invalid, and then it is the step's policy that has to be asked
before its offset moves. ``settle`` ends that.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from flowdsl.chunks import Chunk
from flowdsl.origins import Member
from flowdsl.types import BaseValue, BrokerValue, Message, Partition, Value


class Passing(Struct, eq=False):
    """The last value of one record, on its way through the strategy. ``values``: how many there are, with those before."""

    values: int
    members: list[Member]
    partition: Partition
    offset: int
    mark_before: int
    input: Any
    done: bool = False


class Passage:
    """The records inside, in the order in which they entered."""

    def __init__(self) -> None:
        self._order: deque[Passing] = deque()
        self._lanes: defaultdict[Partition, deque[Passing]] = defaultdict(deque[Passing])
        self._let_go: list[Passing] = []
        self._mark = 0
        self._last: list[Member] = []

    def enter(self, chunk: Chunk[Any]) -> list[Message[Any]]:
        """The messages for the values of a chunk."""
        messages: list[Message[Any]] = []
        begun = 0
        for index, payload in enumerate(chunk.values):
            members = chunk.origins.members(index)
            window, position, number = members[-1]
            partition, offset = window.place(position)
            timestamp = window.record(position).timestamp
            last = index + 1 == len(chunk) or number not in {n for _, _, n in chunk.origins.members(index + 1)}
            value: BaseValue[Any] = Value(payload, {}, timestamp)
            if last and len(members) == 1:
                value = BrokerValue(payload, partition, offset, timestamp)
            elif last:
                value = Value(payload, _next_offsets(members), timestamp)
            if last:
                before = min(chunk.mark, chunk.origins.low(index))
                passing = Passing(index + 1 - begun, members, partition, offset, before, payload)
                begun = index + 1
                self._order.append(passing)
                self._lanes[partition].append(passing)
            messages.append(Message(value))
        self._mark = chunk.mark
        return messages

    def leave(self, offsets: Mapping[Partition, int]) -> list[Member]:
        """A value left that carries these offsets. Returns the records that this completes.

        Where it completes none, it is taken for a part of the oldest record inside, or else of the last that left.
        """
        left = self._left(offsets)
        for passing in left:
            passing.done = True
        if left:
            self._last = [member for passing in left for member in passing.members]
        elif self.oldest is not None:
            return self.oldest.members
        return self._last

    def let_go(self, offsets: Mapping[Partition, int]) -> None:
        """All below these offsets left without a value."""
        left = self._left(offsets)
        self._let_go += left
        self._last = left[-1].members if left else self._last

    def settle(self) -> int:
        """What was let go is done: nothing more will be said about it. Returns how many values that were."""
        for passing in self._let_go:
            passing.done = True
        values = sum(passing.values for passing in self._let_go)
        self._let_go.clear()
        return values

    def find(self, partition: Partition, offset: int) -> Passing | None:
        """The record at that offset, as long as it is not done."""
        inside = (*self._lanes[partition], *self._let_go)
        return next((each for each in inside if (each.partition, each.offset) == (partition, offset)), None)

    @property
    def oldest(self) -> Passing | None:
        """The first record that has not left."""
        inside = {id(each) for each in self._let_go}
        return next((each for each in self._order if not each.done and id(each) not in inside), None)

    @property
    def mark(self) -> int:
        """All records below it are done."""
        while self._order and self._order[0].done:
            self._order.popleft()
        return self._order[0].mark_before if self._order else self._mark

    def _left(self, offsets: Mapping[Partition, int]) -> list[Passing]:
        left: list[Passing] = []
        for partition, offset in offsets.items():
            lane = self._lanes[partition]
            while lane and lane[0].offset < offset:
                left.append(lane.popleft())
        return left


def _next_offsets(members: list[Member]) -> dict[Partition, int]:
    offsets: dict[Partition, int] = {}
    for window, position, _ in members:
        partition, offset = window.place(position)
        offsets[partition] = max(offsets.get(partition, 0), offset + 1)
    return offsets
