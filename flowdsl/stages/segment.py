"""A segment: neighbouring steps that neither wait nor read ahead, fused into one stage, perhaps with a collector last."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Any

from flowdsl.chunks import Chunk, progress
from flowdsl.clock import Clock
from flowdsl.interface.step import Step
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.stages.calls import Loop
from flowdsl.stages.collector import Collector
from flowdsl.stages.failures import Failure, Verdict
from flowdsl.stages.guard import guarded
from flowdsl.stages.kernel import Fusable, Kernel, Unusable
from flowdsl.stages.ledger import MOST_APART
from flowdsl.stages.loops import Loops
from flowdsl.stages.parking import NONE, Parking
from flowdsl.stages.switch import GRACE, Switch
from flowdsl.stages.work import Work
from flowdsl.types import FilteredPayload, Message


class Segment(Step[Any, Any]):
    """Runs kernels over chunks."""

    def __init__(
        self,
        kernels: Sequence[Fusable],
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
        self._work: list[Work] = []
        self._loops: Loops | None = None
        self._parking = Parking()
        self._top = 0
        """The highest mark that was accepted."""
        self._owes_progress = False
        """Whether what was set aside and tried again has to be followed by what it completes."""
        self._until: float | None = None
        self._ended = False

    # -- hooks of the base ----------------------------------------------------------------------------------------

    def accept(self, message: Message[Any | FilteredPayload]) -> None:
        chunk: Any = message.value  # between stages there are chunks only
        if self._ended:
            return
        self._top = max(self._top, chunk.mark)
        self._enter(chunk)
        self._run()

    def has_room(self) -> bool:
        if self._outbox or self._work:
            return False
        return not self._parking.works or self._top < self._parking.floor(self._top) + MOST_APART

    def is_busy(self) -> bool:
        if self._closed and self._until is None and self._switch.stopping:
            self._until = self.clock() + GRACE  # what is to be tried later will be read again
        return bool(self._work) or (not self._ended and self._parking.is_worth_waiting_for(self._until))

    def join(self, timeout: float | None = None) -> None:
        if timeout is not None:
            self._until = self.clock() + GRACE
        super().join(timeout)

    def advance(self) -> None:
        if self._work:
            self._run()
        if self._parking.works and not (self._work or self._outbox or self._ended):
            self._try_again()
        if self._owes_progress and not (self._work or self._ended):
            self._owes_progress = False
            self._leave(progress(self._top))
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
        if self._outbox:
            return None
        collected = None if self._collector is None else self._collector.deadline()
        again = self._parking.next() if self._parking.works else None
        return again if collected is None else collected if again is None else min(collected, again)

    def _run(self) -> None:
        while self._work:
            work = self._work[-1]
            if work.failure is not None and not self._settle(work, work.failure):
                return
            self._work.pop()
            self._enter(work.chunk, work)

    def _try_again(self) -> None:
        """Whose time has come goes on, before what waits behind it; then, even if that takes a while, what all that completes."""
        due = self._parking.due(self.clock())
        if due:
            self._owes_progress = True
            self._work += reversed(due)
            self._run()

    def _settle(self, work: Work, failure: Failure) -> bool:
        """Ask what to do about a failed value; False if it has to wait."""
        kernel = self.kernels[work.index]
        try:
            verdict = kernel.handler.handle(failure)
        except BaseException:
            self._leave(work.chunk.head(0))  # what was dropped just before it is complete
            self._end()
            self._switch.fail()
            raise
        if verdict is Verdict.WAIT:
            return False
        kernel.step.count.received += len(work.chunk) if kernel.whole else 1
        work.drop_failed(kernel)
        return True

    def _enter(self, chunk: Chunk[Any], work: Work | None = None) -> None:
        """Take a chunk through the kernels, as far as it goes: from the first on, or as this work says."""
        index, known, attempts, passes = (0, None, 0, False) if work is None else work.place
        loops = self._loops = self._loops or Loops(self.kernels)  # instruments may have put others in their place
        while index < len(self.kernels) and chunk.values:
            waits = NONE
            if self._parking.works:
                if not passes:
                    free = self._parking.keep_behind(Work(index, chunk, known))
                    if free is None:
                        return
                    chunk, known = free.chunk, free.results
                waits = self._parking.kernels
            part = loops.at(index, waits)
            if isinstance(part, Loop):
                out, after = self._through_calls(part, index, chunk, attempts), index + len(part.calls)
            else:
                out, after = self._through(part, index, chunk, known or [], attempts), index + 1
            if out is None:
                return
            chunk, index, known, attempts, passes = out, after, None, 0, False
        self._leave(chunk)

    def _leave(self, chunk: Chunk[Any]) -> None:
        """Hand on what passed all kernels, with no higher mark than what waits allows."""
        if self._parking.works:
            chunk = copy(chunk)  # other branches may have the same one
            chunk.mark = min(chunk.mark, self._parking.floor(self._top))
        if self._collector is not None:
            self._emit_all(self._collector.add(chunk))
        else:
            self.emit(Message(chunk))

    def _through_calls(self, loop: Loop, index: int, chunk: Chunk[Any], attempts: int) -> Chunk[Any] | None:
        """Neighbouring calls. None: nothing goes on now, what there is to do was put on the stack."""
        passed = loop.passed()
        error = guarded(self._switch, chunk.values, loop.filling(passed))
        done = passed.records
        out = loop.finish(chunk.head(done), passed)
        if error is None:
            if done < len(chunk.values):
                self._end()
            return out
        rest = chunk.tail(done)
        at, given = loop.blamed(error)
        first = rest.head(1)
        failed = Work(index + at, Chunk([given], first.mark, first.origins))
        failed.fail(self.kernels[failed.index], error, 1 if done or at else attempts + 1)
        self._work.append(Work(index, rest.tail(1)))
        self._set_aside(failed)
        if done:
            self._work.append(Work(index + len(loop.calls), out))
        return None

    def _through(
        self, kernel: Kernel, index: int, chunk: Chunk[Any], results: list[Any], attempts: int
    ) -> Chunk[Any] | None:
        """One kernel, for the values that have no result yet. None: as above."""
        inputs = kernel.inputs(chunk)
        rest = inputs[len(results) :] if results else inputs
        apply = partial(kernel.apply, done=results.append)
        error = guarded(self._switch, rest, apply, in_one_piece=kernel.takes_all)
        if error is not None:
            self._postpone(kernel, index, chunk, results, len(results), error, attempts)
            return None
        try:
            out = kernel.finish(chunk.head(len(results)), results)
        except Unusable as unusable:
            self._postpone(kernel, index, chunk, results, unusable.index, unusable.error, attempts)
            return None
        count = kernel.step.count
        count.received += len(results)
        count.emitted += kernel.emitted(out)
        if kernel.ended or len(results) < len(chunk):
            self._end()
        return out

    def _postpone(
        self,
        kernel: Kernel,
        index: int,
        chunk: Chunk[Any],
        results: list[Any],
        at: int,
        error: Exception,
        attempts: int,
    ) -> None:
        """The value at ``at`` failed: what is before it goes on now, the rest waits below it on the stack."""
        rest = Work(index, chunk.tail(at), results[at + 1 :])
        rest.fail(kernel, error, 1 if at else attempts + 1)
        self._set_aside(rest)
        if at:
            before = Work(index, chunk.head(at), results[:at])
            before.passes = True
            self._work.append(before)

    def _set_aside(self, work: Work) -> None:
        self._work += self._parking.set_aside(work, self.kernels[work.index])

    def _end(self) -> None:
        """Nothing behind what was handed on so far will leave this segment."""
        self._ended = True
        self._work.clear()

    def _emit_all(self, chunks: Sequence[Chunk[Any]]) -> None:
        for chunk in chunks:
            self.emit(Message(chunk))

    def __str__(self) -> str:
        return " | ".join(kernel.step.name for kernel in self.kernels) or type(self).__name__
