"""Sinks that are objects: ``write`` gets whatever has arrived, and offsets move after ``flush``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowdsl.chunks import Chunk, progress
from flowdsl.errors import refuse_awaitable
from flowdsl.origins import NOTHING
from flowdsl.stages.context import StepContext
from flowdsl.stages.ending import Delivered, delivered
from flowdsl.stages.failures import Failure, Handler
from flowdsl.stages.kernel import Done, Kernel, refuse_awaitables


class WriteKernel(Kernel):
    """Hands all values of a chunk to ``write`` at once.

    If that fails and the run is to go on, value by value, so that only the culprit is dropped: what was before it may
    be written twice.
    """

    takes_all = True

    def __init__(
        self, step: StepContext, handler: Handler, write: Callable[[Sequence[Any]], Any], *, stops: bool
    ) -> None:
        super().__init__(step, handler)
        self._write = write
        self.whole = stops

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        values = list(inputs)
        if not values:
            return
        try:
            result = self._write(values)
        except Exception:
            if self.whole or len(values) == 1:
                raise
            self._one_by_one(values, done)
        else:
            for _ in values:
                done(result)

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        refuse_awaitables(results[:1])
        return Delivered(chunk)

    def emitted(self, out: Chunk[Any]) -> int:  # noqa: ARG002  # counted once they are flushed
        return 0

    def _one_by_one(self, values: list[Any], done: Done) -> None:
        write = self._write
        for value in values:
            done(write([value]))


class FlushGate:
    """Holds marks back until what they stand for is flushed. After a flush that failed nothing is flushed any more."""

    drops_unfinished = False
    """What was written before a step failed is complete once it is flushed."""

    def __init__(self, step: StepContext, flush: Callable[[], Any] | None) -> None:
        self._step, self._flush = step, flush
        self._values: list[Any] = []
        self._count = 0
        self._mark: int | None = None
        self._since = step.clock()
        self._first = NOTHING
        self._broken = False

    def add(self, chunk: Chunk[Any]) -> Sequence[Chunk[Any]]:
        if isinstance(chunk, Delivered) and chunk.count:
            if not self._count:
                self._first = chunk.taken_from
                self._since = self._step.clock()
            self._count += chunk.count
            if self._step.run.delivered is not None:  # nobody else wants them, and there may be many until a flush
                self._values += chunk.taken
        elif not self._count:
            return (chunk,)
        self._mark = chunk.mark
        return self.advance()

    def advance(self) -> Sequence[Chunk[Any]]:
        deadline = self.deadline()
        return self.flush() if deadline is not None and self._step.clock() >= deadline else ()

    def flush(self) -> Sequence[Chunk[Any]]:
        if self._mark is None or self._broken:
            return ()
        self._call_flush()
        delivered(self._step, self._values)
        self._step.count.emitted += self._count
        mark = self._mark
        self._values, self._count, self._mark, self._first = [], 0, None, NOTHING
        return (progress(mark),)

    @property
    def held(self) -> int:
        return self._count

    def deadline(self) -> float | None:
        if self._mark is None or self._broken:
            return None
        return self._since + (0.0 if self._flush is None else self._step.run.flush_every)

    def _call_flush(self) -> None:
        if self._flush is None:
            return
        try:
            refuse_awaitable(self._flush(), "flush")
        except Exception as error:
            self._broken = True
            self._step.run.switch.fail()
            failure = Failure(self._step.site, error, None, self._first.members(0), count=self._count)
            raise failure.raised() from error
