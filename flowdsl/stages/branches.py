"""Several ways through a flow: a splitter sends chunks into branches, a junction brings their progress together.

Every branch sees every mark: values that are not for it travel as an empty chunk. What all branches have passed is the
smallest of their marks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.clock import SYSTEM_CLOCK, Clock, Deadline
from flowdsl.errors import InvalidMessage
from flowdsl.interface.step import DRAIN_PAUSE
from flowdsl.interface.strategy import MessageRejected, ProcessingStrategy
from flowdsl.origins import kept
from flowdsl.types import Message

Divide = Callable[[Chunk[Any]], Sequence[Chunk[Any]]]
"""Gives each branch its chunk: as many as there are branches, each with the mark of the whole."""


class Addressed(Chunk[Any]):
    """A chunk whose values know their branch. ``targets``: the branch of each, aligned with the values."""

    __slots__ = ("targets",)

    def __init__(self, chunk: Chunk[Any], targets: list[int]) -> None:
        super().__init__(chunk.values, chunk.mark, chunk.origins)
        self.targets = targets


def to_addressed(count: int) -> Divide:
    """Every value goes to the branch that it is addressed to."""

    def divide(chunk: Chunk[Any]) -> Sequence[Chunk[Any]]:
        targets = chunk.targets if isinstance(chunk, Addressed) else []
        parts: list[Chunk[Any]] = []
        for branch in range(count):
            mask = [target == branch for target in targets]
            values = list(compress(chunk.values, mask))
            parts.append(Chunk(values, chunk.mark, kept(chunk.origins, mask, len(values))))
        return parts

    return divide


def to_all(count: int) -> Divide:
    """Every branch gets every value; the lists are not shared."""

    def divide(chunk: Chunk[Any]) -> Sequence[Chunk[Any]]:
        return [chunk, *(Chunk(list(chunk.values), chunk.mark, chunk.origins) for _ in range(count - 1))]

    return divide


class Splitter(ProcessingStrategy[Any]):
    """Hands each chunk to all branches. One that rejects keeps its chunk waiting here; the others go on."""

    def __init__(
        self, divide: Divide, branches: Sequence[ProcessingStrategy[Any]], *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._divide = divide
        self._branches = tuple(branches)
        self._waiting: tuple[deque[Message[Any]], ...] = tuple(deque[Message[Any]]() for _ in branches)
        self._failed: set[int] = set()
        self._clock = clock

    def submit(self, message: Message[Any]) -> None:
        self._hand_on()
        if any(self._waiting):
            raise MessageRejected
        chunk: Any = message.value
        for index, part in enumerate(self._divide(chunk)):
            if index not in self._failed:
                self._waiting[index].append(Message(part))
        self._hand_on()

    def poll(self) -> None:
        self._with_each(lambda branch: branch.poll())
        self._hand_on()

    def close(self) -> None:
        pass  # the branches are closed by join, after what waits here has reached them

    def join(self, timeout: float | None = None) -> None:
        deadline = Deadline.after(self._clock, timeout)
        self._hand_on()
        while any(self._waiting) and not deadline.expired:
            self.poll()
            if any(self._waiting):
                deadline.pause(DRAIN_PAUSE)
        self._drop()  # what no branch took in time will be read again
        self._with_each(lambda branch: branch.close())
        self._with_each(lambda branch: branch.join(deadline.remaining()))

    def terminate(self) -> None:
        self._drop()
        for branch in self._branches:
            branch.terminate()

    def next_deadline(self) -> float | None:
        moments = [branch.next_deadline() for branch in self._branches]
        return min((moment for moment in moments if moment is not None), default=None)

    def held_by(self) -> str | None:
        return next(filter(None, (branch.held_by() for branch in self._branches)), None)

    def _drop(self) -> None:
        for waiting in self._waiting:
            waiting.clear()

    def _with_each(self, call: Callable[[ProcessingStrategy[Any]], None]) -> None:
        """One that fails does not keep the others from their turn; what failed first is raised."""
        first: BaseException | None = None
        for index, branch in enumerate(self._branches):
            try:
                call(branch)
            except BaseException as error:  # noqa: BLE001  # raised below
                first = first or self._noted(index, error)
        if first is not None:
            raise first

    def _noted(self, index: int, error: BaseException) -> BaseException:
        """A branch that failed gets nothing any more; the others still get what waits for them."""
        if not isinstance(error, InvalidMessage):
            self._waiting[index].clear()
            self._failed.add(index)
        return error

    def _hand_on(self) -> None:
        for index, (waiting, branch) in enumerate(zip(self._waiting, self._branches, strict=True)):
            while waiting:
                try:
                    branch.submit(waiting[0])
                except MessageRejected:
                    break
                except BaseException as error:
                    waiting.popleft()  # the branch owns it
                    self._noted(index, error)
                    raise
                waiting.popleft()


class Junction:
    """Where branches end. Values go on in the order in which they come; the mark is the smallest of all branches."""

    def __init__(self, branches: int, downstream: ProcessingStrategy[Any]) -> None:
        self.downstream = downstream
        self.marks = [0] * branches
        self.open = branches
        self.joined = branches

    def ends(self) -> list[BranchEnd]:
        """One last stage for each branch."""
        return [BranchEnd(self, index) for index in range(len(self.marks))]

    def passed(self, index: int, mark: int) -> int:
        """A branch handed on everything below ``mark``; returns what all of them have."""
        return min(mark if at == index else other for at, other in enumerate(self.marks))


class BranchEnd(ProcessingStrategy[Any]):
    """The last stage of one branch. Only the last branch to close or join closes or joins what is behind them all."""

    def __init__(self, junction: Junction, index: int) -> None:
        self._junction, self._index = junction, index
        self._closed = self._joined = False

    def submit(self, message: Message[Any]) -> None:
        chunk: Any = message.value
        junction = self._junction
        onward: Chunk[Any] = Chunk(chunk.values, junction.passed(self._index, chunk.mark), chunk.origins)
        junction.downstream.submit(Message(onward))
        junction.marks[self._index] = max(chunk.mark, junction.marks[self._index])

    def poll(self) -> None:
        self._junction.downstream.poll()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._junction.open -= 1
            if not self._junction.open:
                self._junction.downstream.close()

    def join(self, timeout: float | None = None) -> None:
        if not self._joined:
            self._joined = True
            self._junction.joined -= 1
            if not self._junction.joined:
                self._junction.downstream.join(timeout)

    def terminate(self) -> None:
        self._junction.downstream.terminate()

    def next_deadline(self) -> float | None:
        return self._junction.downstream.next_deadline()

    def held_by(self) -> str | None:
        return self._junction.downstream.held_by()
