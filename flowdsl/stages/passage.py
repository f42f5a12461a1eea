"""What is inside a hand-written strategy: which records entered it, which left, and what is done because of that.

A record that leaves with a value is done with it. One that leaves without, filtered or committed by the strategy
itself, is *let go* first: the strategy may still call it invalid, and then it is the step's policy that has to be asked
before its offset moves. ``settle`` ends that. One that is to be given to the strategy again is *taken back*: it is not
done when its offset leaves.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from flowdsl.chunks import Chunk
from flowdsl.origins import Member
from flowdsl.types import BaseValue, BrokerValue, Message, Partition, Value


class Passing(Struct, eq=False):
    """The last value of one record, on its way through the strategy. ``values``: how many there are, with those before.

    ``messages``: what the strategy is given of it. ``taken_back``: it is to be given again; ``is_out``: and may be, since
    its offset has left.
    """

    values: int
    members: list[Member]
    partition: Partition
    offset: int
    mark_before: int
    input: Any
    messages: list[Message[Any]]
    done: bool = False
    attempts: int = 0
    taken_back: bool = False
    is_out: bool = False

    @property
    def number(self) -> int:
        """Its place in the order of arrival."""
        return self.members[0][2]

    def partitions(self) -> set[Partition]:
        """Of the records that it came from."""
        return {window.place(position)[0] for window, position, _ in self.members}


class Passage:
    """The records inside, in the order in which they entered."""

    def __init__(self) -> None:
        self._order: deque[Passing] = deque()
        self._lanes: defaultdict[Partition, deque[Passing]] = defaultdict(deque[Passing])
        self._let_go: list[Passing] = []
        self._mark = 0
        self._last: list[Member] = []

    def enter(self, chunk: Chunk[Any]) -> list[Passing]:
        """The records of a chunk, with the messages for their values; each of them is inside once it was given."""
        entered: list[Passing] = []
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
            messages.append(Message(value))
            if last:
                before = min(chunk.mark, chunk.origins.low(index))
                entered.append(Passing(index + 1 - begun, members, partition, offset, before, payload, messages))
                begun, messages = index + 1, []
        self._order += entered
        self._mark = chunk.mark
        return entered

    def give(self, passing: Passing) -> None:
        """The strategy is given it now, perhaps not for the first time."""
        passing.taken_back = passing.is_out = False
        self._lanes[passing.partition].append(passing)

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

    @property
    def unsettled(self) -> list[Passing]:
        """What was let go and may still be called invalid."""
        return list(self._let_go)

    def settle(self, passings: Sequence[Passing]) -> int:
        """Of what was let go, these are done: nothing more will be said about them. Returns how many values that were."""
        chosen = {id(each) for each in passings}
        settled = [each for each in self._let_go if id(each) in chosen]
        for passing in settled:
            passing.done = True
        self._let_go = [each for each in self._let_go if not each.done]
        return sum(passing.values for passing in settled)

    def take_back(self, passing: Passing, unsent: list[Message[Any]] | None) -> None:
        """It is to be given again: all of it from ``unsent`` on where its offset has not entered yet, or its last value."""
        passing.taken_back = True
        passing.messages = unsent or passing.messages[-1:]
        if unsent is not None:
            self._lanes[passing.partition].remove(passing)
        elif passing in self._let_go:
            self._let_go.remove(passing)
        else:
            return  # its offset will leave
        passing.is_out = True

    def can_return(self, passing: Passing) -> bool:
        """Whether everything of its partitions has left, so that its offset is no lower than what is inside."""
        return passing.is_out and not any(self._lanes[partition] for partition in passing.partitions())

    def give_up(self, passing: Passing) -> None:
        """It is not given again after all, and nothing of it is delivered."""
        passing.values = 0
        passing.taken_back = False
        if passing.is_out:
            self._let_go.append(passing)

    def find(self, partition: Partition, offset: int) -> Passing | None:
        """The record at that offset, as long as it is not done."""
        inside = (*self._lanes[partition], *self._let_go)
        return next((each for each in inside if (each.partition, each.offset) == (partition, offset)), None)

    @property
    def oldest(self) -> Passing | None:
        """The first record that has not left."""
        inside = {id(each) for each in self._let_go}
        away = (each.done or each.taken_back or id(each) in inside for each in self._order)
        return next((each for each, is_away in zip(self._order, away, strict=True) if not is_away), None)

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
                passing = lane.popleft()
                if passing.taken_back:
                    passing.is_out = True
                else:
                    left.append(passing)
        return left


def _next_offsets(members: list[Member]) -> dict[Partition, int]:
    offsets: dict[Partition, int] = {}
    for window, position, _ in members:
        partition, offset = window.place(position)
        offsets[partition] = max(offsets.get(partition, 0), offset + 1)
    return offsets
