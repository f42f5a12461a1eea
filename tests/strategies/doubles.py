"""What stands around a strategy under test: scripted ends, a commit that remembers, a producer that answers on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from flowdsl.clock import Clock
from flowdsl.strategies import (
    FILTERED_PAYLOAD,
    BrokerValue,
    FilteredPayload,
    KafkaPayload,
    Message,
    MessageRejected,
    Partition,
    ProcessingStrategy,
    Topic,
    Value,
)
from flowdsl.types import Commit

TOPIC = Topic("orders")
P0, P1 = Partition(TOPIC, 0), Partition(TOPIC, 1)


def at(offset: int, payload: Any, partition: Partition = P0) -> Message[Any]:
    return Message(BrokerValue(payload, partition, offset))


def filtered(offset: int, partition: Partition = P0) -> Message[Any]:
    return Message(Value(FILTERED_PAYLOAD, {partition: offset + 1}))


class Passing(ProcessingStrategy[Any]):
    """Hands everything on, as a strategy should."""

    def __init__(self, downstream: ProcessingStrategy[Any]) -> None:
        self.downstream = downstream

    def submit(self, message: Message[Any]) -> None:
        self.downstream.submit(message)

    def poll(self) -> None:
        self.downstream.poll()

    def close(self) -> None:
        self.downstream.close()

    def join(self, timeout: float | None = None) -> None:
        self.downstream.join(timeout)

    def terminate(self) -> None:
        self.downstream.terminate()


class ClosedUntil(Passing):
    """Takes nothing before that time."""

    def __init__(self, moment: float, clock: Clock, downstream: ProcessingStrategy[Any]) -> None:
        super().__init__(downstream)
        self._moment, self._clock = moment, clock

    def submit(self, message: Message[Any]) -> None:
        if self._clock() < self._moment:
            raise MessageRejected
        super().submit(message)


class Commits:
    """A commit callable; ``reached`` is what a broker would know if every call was sent."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[Partition, int], bool]] = []
        self.reached: dict[Partition, int] = {}
        self.onward: Commit | None = None
        """Told instead, which answers what may be committed; None where that is all there is."""

    def __call__(self, offsets: Mapping[Partition, int], force: bool = False) -> None:
        if self.onward is None:
            self.answer(offsets, force)
        else:
            self.onward(offsets, force)

    def answer(self, offsets: Mapping[Partition, int], force: bool = False) -> None:
        self.calls.append((dict(offsets), force))
        self.reached.update(offsets)


class Recorder(ProcessingStrategy[Any]):
    """An end that takes everything, remembers it, and commits it at once."""

    def __init__(self) -> None:
        self.messages: list[Message[Any]] = []
        self.commits = Commits()
        self.polls = 0
        self.closed = self.joined = self.terminated = False

    @property
    def committed(self) -> dict[Partition, int]:
        return self.commits.reached

    @property
    def payloads(self) -> list[Any]:
        return [message.payload for message in self.messages if not isinstance(message.payload, FilteredPayload)]

    def takes(self, message: Message[Any]) -> bool:
        return True

    def poll(self) -> None:
        self.polls += 1

    def submit(self, message: Message[Any]) -> None:
        if self.closed:
            raise RuntimeError("submitted to a closed end")
        if not self.takes(message):
            raise MessageRejected
        self.messages.append(message)
        self.commits(message.committable)

    def close(self) -> None:
        self.closed = True

    def join(self, timeout: float | None = None) -> None:
        self.joined = True

    def terminate(self) -> None:
        self.closed = self.terminated = True


class Rejecting(Recorder):
    """Rejects where the pattern says True, submit by submit; takes everything after its end."""

    def __init__(self, pattern: Iterable[bool]) -> None:
        super().__init__()
        self._pattern: Iterator[bool] = iter(pattern)

    def takes(self, message: Message[Any]) -> bool:
        return not next(self._pattern, False)


class Blocked(Recorder):
    """Takes nothing until ``open`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.open = False

    def takes(self, message: Message[Any]) -> bool:
        return self.open


class NeedsPolls(Recorder):
    """Has room for one message, and makes room for the next in the n-th poll after it."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._n = n
        self._left = 0

    def takes(self, message: Message[Any]) -> bool:
        if self._left:
            return False
        self._left = self._n
        return True

    def poll(self) -> None:
        super().poll()
        self._left = max(0, self._left - 1)


class Answering:
    """A producer whose broker answers everything sent so far whenever it is polled, unless it is ``silent``."""

    def __init__(self, *, silent: bool = False, room: int = 1_000_000) -> None:
        self.silent = silent
        self.room = room
        self.sent: list[tuple[Topic | Partition, KafkaPayload]] = []
        self.futures: list[Future[Any]] = []
        self._answered = 0

    def produce(self, destination: Topic | Partition, payload: KafkaPayload) -> Future[Any]:
        if len(self.sent) - self._answered >= self.room:
            raise BufferError("queue full")
        future: Future[Any] = Future()
        self.sent.append((destination, payload))
        self.futures.append(future)
        return future

    def poll(self, timeout: float = 0.0) -> None:
        if not self.silent:
            for index in range(self._answered, len(self.sent)):
                self.answer(index)
            self._answered = len(self.sent)

    def answer(self, index: int, error: Exception | None = None) -> None:
        future = self.futures[index]
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(BrokerValue(self.sent[index][1], Partition(Topic("out"), 0), index))
