"""Hand-written strategies inside a compiled pipeline: chunks become single messages before them, and chunks again behind.

What goes in is remembered, so that the offsets which come out can be told as marks, in the order of arrival.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

from attrs import define

from flowdsl.chunks import NOTHING, Chunk, Picked, progress
from flowdsl.clock import Clock
from flowdsl.errors import FlowError, InvalidMessage
from flowdsl.records import Records
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Failure, Handler, Verdict
from flowdsl.stages.ledger import Ledger
from flowdsl.strategies.interface import MessageRejected, ProcessingStrategy
from flowdsl.strategies.step import Step
from flowdsl.types import BaseValue, BrokerValue, FilteredPayload, Message, Partition, Value


@define(slots=True, eq=False)
class _Passing:
    """The last value of one record, on its way through the strategy."""

    members: list[tuple[Records, int, int]]
    partition: Partition
    offset: int
    mark_before: int
    input: Any
    done: bool = False


class Passage:
    """What is inside a hand-written strategy."""

    def __init__(self) -> None:
        self._order: deque[_Passing] = deque()
        self._lanes: defaultdict[Partition, deque[_Passing]] = defaultdict(deque[_Passing])
        self._mark = 0
        self._last: list[tuple[Records, int, int]] = []

    def enter(self, chunk: Chunk[Any]) -> list[Message[Any]]:
        """The messages for the values of a chunk."""
        messages: list[Message[Any]] = []
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
                passing = _Passing(members, partition, offset, before, payload)
                self._order.append(passing)
                self._lanes[partition].append(passing)
            messages.append(Message(value))
        self._mark = chunk.mark
        return messages

    def leave(self, offsets: Mapping[Partition, int]) -> list[tuple[Records, int, int]]:
        """All below these offsets is done; returns the records that this completes, or else those of the last time."""
        members: list[tuple[Records, int, int]] = []
        for partition, offset in offsets.items():
            lane = self._lanes[partition]
            while lane and lane[0].offset < offset:
                passing = lane.popleft()
                passing.done = True
                members += passing.members
        while self._order and self._order[0].done:
            self._order.popleft()
        self._last = members or self._last
        return self._last

    def find(self, partition: Partition, offset: int) -> _Passing | None:
        return next((each for each in self._lanes[partition] if each.offset == offset), None)

    @property
    def oldest(self) -> _Passing | None:
        return self._order[0] if self._order else None

    @property
    def mark(self) -> int:
        """All records below it have left."""
        return self._order[0].mark_before if self._order else self._mark


def _next_offsets(members: list[tuple[Records, int, int]]) -> dict[Partition, int]:
    offsets: dict[Partition, int] = {}
    for window, position, _ in members:
        partition, offset = window.place(position)
        offsets[partition] = max(offsets.get(partition, 0), offset + 1)
    return offsets


class ForeignEnd(Step[Any, Any]):
    """What a hand-written strategy in the middle hands its results to."""

    def __init__(
        self, passage: Passage, step: StepContext, next_step: ProcessingStrategy[Any], *, clock: Clock
    ) -> None:
        super().__init__(next_step, clock=clock)
        self._passage, self._step = passage, step
        self._told = 0

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        members = self._passage.leave(message.committable)
        if isinstance(message.payload, FilteredPayload):
            self.catch_up()
            return
        self._told = self._passage.mark
        self._step.count.emitted += 1
        origins = Picked([members]) if members else NOTHING
        onward: Chunk[Any] = Chunk([message.payload], self._told, origins)
        self.emit(Message(onward))

    def catch_up(self) -> None:
        """Hand on progress that no value carries."""
        if self._passage.mark > self._told:
            self._told = self._passage.mark
            self.emit(Message(progress(self._told)))

    def advance(self) -> None:
        self.catch_up()

    def flush(self) -> None:
        self.catch_up()


class SelfCommit:
    """The ``commit`` of a hand-written strategy that ends the flow."""

    def __init__(self, passage: Passage, ledger: Ledger, step: StepContext) -> None:
        self._passage, self._ledger, self._step = passage, ledger, step

    def __call__(self, offsets: Mapping[Partition, int], force: bool = False) -> None:  # noqa: ARG002  # the loop's policy decides
        self._passage.leave(offsets)
        self._ledger.advance(self._passage.mark)


class ForeignStage(Step[Any, Any]):
    """Hands chunks to a hand-written strategy, message by message."""

    def __init__(
        self, passage: Passage, step: StepContext, handler: Handler, strategy: ProcessingStrategy[Any], *, clock: Clock
    ) -> None:
        super().__init__(strategy, clock=clock)
        self._passage, self._step, self._handler = passage, step, handler
        self._failures: deque[Failure] = deque()

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        chunk: Any = message.value
        self._step.count.received += len(chunk.values)
        for each in self._passage.enter(chunk):
            self.emit(each)

    def has_room(self) -> bool:
        return not self._outbox and not self._failures

    def is_busy(self) -> bool:
        return bool(self._failures)

    def submit(self, message: Message[Any | FilteredPayload]) -> None:
        with_room = False
        try:
            super().submit(message)
            with_room = True
        except InvalidMessage as invalid:
            with_room = True
            self._note(invalid)
        except MessageRejected:
            raise
        except FlowError:
            raise
        except Exception as error:
            raise self._failed(error) from error
        if with_room:
            self._turn_safely()

    def poll(self) -> None:
        try:
            super().poll()
        except InvalidMessage as invalid:
            self._note(invalid)
        except FlowError:
            raise
        except Exception as error:
            raise self._failed(error) from error

    def advance(self) -> None:
        while self._failures and self._handler.handle(self._failures[0]) is Verdict.DROP:
            self._failures.popleft()

    def join(self, timeout: float | None = None) -> None:
        while True:
            try:
                super().join(timeout)
            except InvalidMessage as invalid:
                self._note(invalid)
                continue
            except FlowError:
                raise
            except Exception as error:
                raise self._failed(error) from error
            return

    def abandon(self) -> None:
        self._failures.clear()

    def _turn_safely(self) -> None:
        while self._outbox:
            before = len(self._outbox)
            try:
                self._turn()
            except InvalidMessage as invalid:
                self._note(invalid)
            except FlowError:
                raise
            except Exception as error:
                raise self._failed(error) from error
            if len(self._outbox) == before:
                return

    def _note(self, invalid: InvalidMessage) -> None:
        passing = self._passage.find(invalid.partition, invalid.offset)
        if passing is None:
            text = f"{invalid}: it is not inside {self._step.name}, so nothing can be done about it"
            raise FlowError(text) from invalid
        self._failures.append(Failure(self._step.site, invalid, passing.input, passing.members))

    def _failed(self, error: Exception) -> Exception:
        """An exception of a hand-written strategy leaves it in any state: the run ends, whatever the policy."""
        self._step.run.switch.fail()
        oldest = self._passage.oldest
        if oldest is None:
            return error
        return Failure(self._step.site, error, oldest.input, oldest.members).raised()

    def __str__(self) -> str:
        return self._step.name
