"""A segment: neighbouring steps that neither wait nor read ahead, fused into one stage, perhaps with a collector last.

Work is a stack. A piece of it is a chunk and the kernel that it is to enter. When a kernel fails in mid-chunk, what is
before the failed value goes on first and the rest stays below it on the stack, so that order is kept whatever fails,
waits or is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from flowdsl.chunks import Chunk
from flowdsl.clock import Clock
from flowdsl.stages.failures import Failure, Verdict
from flowdsl.stages.kernel import Kernel, Unusable
from flowdsl.stages.switch import Switch
from flowdsl.strategies.interface import ProcessingStrategy
from flowdsl.strategies.step import Step
from flowdsl.types import FilteredPayload, Message


class Collector(Protocol):
    """What gathers the values at the end of a segment: groups, or what a sink has not flushed.

    ``drops_unfinished``: whether what is held is dropped when a step of the run failed, to be read again.
    """

    drops_unfinished: bool

    def add(self, chunk: Chunk[Any]) -> Sequence[Chunk[Any]]:
        """Take a chunk; returns what leaves because of it, in order."""
        ...

    def advance(self) -> Sequence[Chunk[Any]]:
        """What leaves because its time has come."""
        ...

    def flush(self) -> Sequence[Chunk[Any]]:
        """All that is left."""
        ...

    @property
    def held(self) -> int:
        """How many values wait here."""
        ...

    def deadline(self) -> float | None:
        """When ``advance`` has something to give, on the pipeline's clock."""
        ...


class _Work:
    """A chunk that is to enter a kernel. ``results``: what is known already of the values behind a failed first one."""

    __slots__ = ("attempts", "chunk", "failure", "index", "results")

    def __init__(self, index: int, chunk: Chunk[Any]) -> None:
        self.index, self.chunk = index, chunk
        self.results: list[Any] = []
        self.failure: Failure | None = None
        self.attempts = 0

    def drop_first(self) -> None:
        self.chunk, self.failure, self.attempts = self.chunk.tail(1), None, 0

    def drop_all(self) -> None:
        self.chunk, self.failure, self.attempts = self.chunk.tail(len(self.chunk)), None, 0


class Segment(Step[Any, Any]):
    """Runs kernels over chunks."""

    def __init__(
        self,
        kernels: Sequence[Kernel],
        next_step: ProcessingStrategy[Any],
        *,
        switch: Switch,
        clock: Clock,
        collector: Collector | None = None,
    ) -> None:
        super().__init__(next_step, clock=clock)
        self.kernels = tuple(kernels)
        self._switch = switch
        self._collector = collector
        self._work: list[_Work] = []
        self._ended = False

    # -- hooks of the base ----------------------------------------------------------------------------------------

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        chunk: Any = message.value  # between stages there are chunks only
        if self._ended:
            return
        self._work.append(_Work(0, chunk))
        self._run()

    def has_room(self) -> bool:
        return not self._outbox and not self._work

    def is_busy(self) -> bool:
        return bool(self._work)

    def advance(self) -> None:
        self._run()
        if self._collector is not None and not self._outbox:
            self._emit_all(self._collector.advance())

    def is_holding(self) -> bool:
        return self._collector is not None and self._collector.held > 0

    def flush(self) -> None:
        collector = self._collector
        if collector is not None and not (self._switch.failed and collector.drops_unfinished):
            self._emit_all(collector.flush())

    def abandon(self) -> None:
        self._work.clear()
        self._ended = True

    def own_deadline(self) -> float | None:
        return None if self._collector is None or self._outbox else self._collector.deadline()

    # -- the work -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._work:
            work = self._work[-1]
            if work.failure is not None and not self._settle(work):
                return
            self._work.pop()
            self._enter(work)

    def _settle(self, work: _Work) -> bool:
        """Ask what to do about a failed value; False if it has to wait."""
        kernel, failure = self.kernels[work.index], work.failure
        if failure is None:
            return True
        try:
            verdict = kernel.handler.handle(failure)
        except BaseException:
            self._end()
            self._switch.fail()
            raise
        if verdict is Verdict.WAIT:
            return False
        kernel.step.count.received += len(work.chunk) if kernel.whole else 1
        if kernel.whole:
            work.drop_all()
        else:
            work.drop_first()
        return True

    def _enter(self, work: _Work) -> None:
        """Take a chunk through the kernels, as far as it goes."""
        chunk, known = work.chunk, work.results
        for index in range(work.index, len(self.kernels)):
            if not chunk.values:
                break
            out = self._through(index, chunk, known, work.attempts if index == work.index else 0)
            if out is None:
                return
            chunk, known = out, []
        if self._collector is not None:
            self._emit_all(self._collector.add(chunk))
        else:
            self.emit(Message(chunk))

    def _through(self, index: int, chunk: Chunk[Any], known: list[Any], attempts: int) -> Chunk[Any] | None:
        """One kernel. None: nothing goes on now, what there is to do was put on the stack."""
        kernel = self.kernels[index]
        results, error = self._call(kernel, kernel.inputs(chunk), known)
        if error is not None:
            self._postpone(index, chunk, results, len(results), error, attempts)
            return None
        try:
            out = kernel.finish(chunk.head(len(results)), results)
        except Unusable as unusable:
            self._postpone(index, chunk, results, unusable.index, unusable.error, attempts)
            return None
        count = kernel.step.count
        count.received += len(results)
        count.emitted += kernel.emitted(out)
        if kernel.ended or len(results) < len(chunk):
            self._end()
        return out

    def _call(self, kernel: Kernel, inputs: list[Any], results: list[Any]) -> tuple[list[Any], Exception | None]:
        """Call user code for the inputs that have no result yet. Ends early when the run is to end."""
        switch = self._switch
        rest = inputs[len(results) :] if results else inputs
        iterator: Any = iter(rest)
        switch.running = iterator  # published before the look at the switch: see Switch.stop
        try:
            if switch.one_by_one and not kernel.takes_all:
                while len(results) < len(inputs) and switch.has_time():
                    kernel.apply(iter([inputs[len(results)]]), results.append)
            else:
                kernel.apply(iterator, results.append)
        except Exception as error:  # noqa: BLE001  # user code: its failure is data from here on
            return results, error
        except BaseException as error:
            if switch.abandoned:
                raise
            switch.interrupted(error)
        finally:
            switch.running = None
        return results, None

    def _postpone(
        self, index: int, chunk: Chunk[Any], results: list[Any], at: int, error: Exception, attempts: int
    ) -> None:
        """The value at ``at`` failed: what is before it goes on now, the rest waits below it on the stack."""
        kernel = self.kernels[index]
        rest = _Work(index, chunk.tail(at))
        rest.attempts = (attempts if at == 0 else 0) + 1
        rest.results = results[at + 1 :]
        first = rest.chunk.values if kernel.whole else rest.chunk.values[0]
        members = rest.chunk.origins.members(0)
        if kernel.whole:
            members = [member for value in range(len(rest.chunk)) for member in rest.chunk.origins.members(value)]
        rest.failure = Failure(kernel.step.site, error, first, members, rest.attempts)
        self._work.append(rest)
        if at:
            before = _Work(index, chunk.head(at))
            before.results = results[:at]
            self._work.append(before)

    def _end(self) -> None:
        """Nothing behind what was handed on so far will leave this segment."""
        self._ended = True
        self._work.clear()

    def _emit_all(self, chunks: Sequence[Chunk[Any]]) -> None:
        for chunk in chunks:
            self.emit(Message(chunk))

    def __str__(self) -> str:
        return " | ".join(kernel.step.name for kernel in self.kernels) or type(self).__name__
