"""The two ends of every compiled pipeline: where records get their numbers, and where marks become offsets."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from flowdsl.chunks import Chunk, progress
from flowdsl.clock import Clock
from flowdsl.errors import shown
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.origins import Arrived
from flowdsl.records import Records
from flowdsl.stages.failures import DeadLetter
from flowdsl.stages.ledger import Ledger
from flowdsl.types import BaseValue, BrokerValue, Commit, FilteredPayload, KafkaPayload, Message, Partition, Record


@runtime_checkable
class Follower(Protocol):
    """A commit that asks the ledger itself, when an offset is to be sent."""

    def follow(self, ledger: Ledger) -> None: ...


class Single(Records):
    """One message of a loop of somebody's own, as a source record: its payload is a raw value or a KafkaPayload."""

    __slots__ = ("_raw", "_value")

    def __init__(self, value: BaseValue[Any]) -> None:
        super().__init__(value.committable)
        self._value = value
        payload = value.payload
        self._raw: Any = payload.value if isinstance(payload, KafkaPayload) else payload

    def __len__(self) -> int:
        return 0 if isinstance(self._raw, FilteredPayload) else 1

    @property
    def payload(self) -> list[Any]:
        return [self._raw] if len(self) else []

    def place(self, index: int) -> tuple[Partition, int]:  # noqa: ARG002  # there is only one
        value = self._value
        if isinstance(value, BrokerValue):
            return value.partition, value.offset
        partition, offset = next(iter(value.committable.items()))
        return partition, offset - 1

    def record(self, index: int) -> Record[Any]:
        partition, offset = self.place(index)
        payload = self._value.payload
        key, headers = (payload.key, payload.headers) if isinstance(payload, KafkaPayload) else (None, ())
        return Record(
            partition.topic.name, partition.index, offset, key, self._raw, tuple(headers), self._value.timestamp
        )

    def window(self, start: int, stop: int) -> Records:  # noqa: ARG002  # there is only one
        return self


def _single(value: object) -> Single:
    """What a foreign loop submitted. Raises TypeError or ValueError for what stands for no record, having touched nothing."""
    single: Any = value
    if not isinstance(value, BaseValue):
        msg = f"a compiled flow takes a Message with a BrokerValue, not one with {shown(single)}"
        raise TypeError(msg)
    if not single.committable:
        msg = f"a compiled flow takes records, and {shown(single)} stands for none: its committable is empty"
        raise ValueError(msg)
    return Single(single)


class Intake(Step[Any, Any]):
    """The first stage: numbers what arrives. Also drives the pipelines beside the main one, such as dead letters."""

    def __init__(
        self,
        next_step: ProcessingStrategy[Any],
        ledger: Ledger,
        *,
        clock: Clock,
        completion: Completion,
        beside: Sequence[ProcessingStrategy[Any]] = (),
    ) -> None:
        super().__init__(next_step, clock=clock)
        self.ledger, self._completion = ledger, completion
        self._beside = tuple(beside)

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        value = message.value
        records = value if isinstance(value, Records) else _single(value)
        ledger = self.ledger
        first, behind = ledger.accept(records), ledger.accepted
        is_empty = behind == first
        chunk: Chunk[Any] = progress(first) if is_empty else Chunk(records.payload, behind, Arrived(records, first))
        self.emit(Message(chunk))

    def poll(self) -> None:
        for pipeline in self._beside:
            pipeline.poll()
        super().poll()
        self._completion.poll()  # behind an end that commits by itself it is nobody's successor

    def join(self, timeout: float | None = None) -> None:
        before = self.clock()
        super().join(timeout)
        for pipeline in self._beside:
            pipeline.close()
            pipeline.join(None if timeout is None else max(0.0, timeout - (self.clock() - before)))
        self._completion.poll()  # what the pipelines beside finished may complete offsets

    def has_room(self) -> bool:
        return super().has_room() and not self.ledger.is_stretched

    def held_by(self) -> str | None:
        return super().held_by() or next(filter(None, (pipeline.held_by() for pipeline in self._beside)), None)

    def abandon(self) -> None:
        for pipeline in self._beside:
            pipeline.terminate()

    def next_deadline(self) -> float | None:
        if not self._beside:
            return super().next_deadline()
        moments = (super().next_deadline(), *(pipeline.next_deadline() for pipeline in self._beside))
        return min((moment for moment in moments if moment is not None), default=None)


class Completion(ProcessingStrategy[Any]):
    """The last stage: what arrives here is done."""

    def __init__(self, ledger: Ledger, commit: Commit | None = None) -> None:
        self.ledger = ledger
        self._commit = None if isinstance(commit, Follower) else commit
        self._reported: Mapping[Partition, int] = {}
        if isinstance(commit, Follower):
            commit.follow(ledger)

    def submit(self, message: Message[Any]) -> None:
        value = message.value
        if isinstance(value, Chunk):
            self.ledger.advance(value.mark)
        self._report()

    def poll(self) -> None:
        self._report()

    def close(self) -> None:
        pass

    def join(self, timeout: float | None = None) -> None:  # noqa: ARG002  # nothing is waited for here
        self._report(force=True)

    def terminate(self) -> None:
        self._commit = None

    def _report(self, *, force: bool = False) -> None:
        if self._commit is None:
            return
        offsets = self.ledger.committable()
        news = {partition: offset for partition, offset in offsets.items() if self._reported.get(partition) != offset}
        if news or force:
            self._reported = offsets
            self._commit(news, force)


class Letters(Ledger):
    """The ledger of a dead letter pipeline: what is done there releases the originals in the main one."""

    def __init__(self, main: Ledger) -> None:
        super().__init__()
        self._main = main
        self._numbers: deque[tuple[int, int]] = deque()

    def accept(self, records: Records) -> int:
        first = super().accept(records)
        if isinstance(records, DeadLetter):
            self._numbers.append((first, records.number))
        return first

    def advance(self, mark: int) -> None:
        super().advance(mark)
        self._passed.clear()  # nobody asks here for offsets: those of the originals are the main one's
        while self._numbers and self._numbers[0][0] < self.done:
            self._main.release(self._numbers.popleft()[1])
