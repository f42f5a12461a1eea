"""What becomes of values whose work has ended elsewhere: they leave, are tried again, or are dealt with as failures.

Nothing leaves with a mark above the lowest record that stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

from flowdsl.chunks import Chunk, progress
from flowdsl.interface.slots import Failed, Succeeded
from flowdsl.reactive.workers import Outlet
from flowdsl.stages.failures import Failure, Verdict
from flowdsl.stages.flattening import FlatMapKernel
from flowdsl.stages.kernel import Unusable
from flowdsl.stages.orders import Order
from flowdsl.stages.results import CallResults
from flowdsl.stages.unfinished import Entry, Unfinished, origins_of

Finisher = CallResults | FlatMapKernel
"""Knows what to make of results."""


class Endings:
    """The second half of a concurrent stage: from outcomes to chunks."""

    def __init__(
        self,
        kernel: Finisher,
        order: Order,
        outlet: Outlet,
        emit: Callable[[Chunk[Any]], None],
        key: Callable[[Any], Any] | None,
    ) -> None:
        self._kernel, self._order, self._emit, self._key = kernel, order, emit, key
        self._unfinished = Unfinished(outlet)
        self._waiting: list[tuple[float, int, Entry]] = []
        self._told = 0

    # -- what comes in --------------------------------------------------------------------------------------------

    def accept(self, chunk: Chunk[Any]) -> None:
        """Take a chunk."""
        self._unfinished.add(chunk)

    @property
    def unopened(self) -> int:
        """How many values were taken, and are not with the order yet."""
        return self._unfinished.unopened

    def open(self, wanted: int) -> None:
        """Bring values to the order until so many are ready to begin, as far as there are any."""
        ready = self._order.ready
        while len(ready) < wanted and self._unfinished.unopened:
            entries = self._unfinished.open(wanted - len(ready))
            if self._key is not None:
                for entry in entries:
                    self._find_key(entry, self._key)
            self._order.arrived(entries)

    def _find_key(self, entry: Entry, key: Callable[[Any], Any]) -> None:
        """A value whose key cannot be found failed: nothing is gained by trying again."""
        try:
            entry.key = key(entry.value)
            hash(entry.key)
        except Exception as error:  # noqa: BLE001  # user code: its failure is data from here on
            entry.key = entry  # nobody waits for it
            entry.failure, entry.is_done = self._failure(entry, error), True

    @property
    def span(self) -> int:
        """How many values were accepted since, and including, the oldest that has not left."""
        return self._unfinished.span

    def __bool__(self) -> bool:
        """Whether there is anything that has not left."""
        return bool(self._unfinished)

    def clear(self) -> None:
        self._unfinished.clear()
        self._waiting.clear()

    # -- outcomes -------------------------------------------------------------------------------------------------

    def ended(self, entries: Iterable[Entry]) -> BaseException | None:
        """These attempts are over. Returns what is no failure of a value: an interrupt that a function raised."""
        over: list[Entry] = []
        interrupt: BaseException | None = None
        for entry in entries:
            outcome = entry.outcome
            if isinstance(outcome, Succeeded):
                entry.result, entry.is_done = outcome.value, True
                over.append(entry)
            elif isinstance(outcome, Failed) and isinstance(outcome.error, Exception):
                if self._failed(entry, outcome.error):
                    over.append(entry)
            elif isinstance(outcome, Failed):
                interrupt = interrupt or outcome.error
        self._order.ended(over)
        return interrupt

    def exceeded(self, entries: Sequence[Entry], limit: float) -> None:
        """These attempts were given up after so many seconds."""
        error = f"it did not end within {limit:g} s"
        self._order.ended([entry for entry in entries if self._failed(entry, TimeoutError(error))])

    def _failed(self, entry: Entry, error: Exception) -> bool:
        """Whether that was the last attempt."""
        failure = self._failure(entry, error)
        moment = self._kernel.handler.again(failure)
        if moment is None:
            entry.failure = failure
            entry.is_done = True
            return True
        again = entry.again()
        self._order.replaced(entry, again)
        self._wait_until(moment, again)
        return False

    def next_try(self) -> float | None:
        """When somebody who failed is to be tried again."""
        return self._waiting[0][0] if self._waiting else None

    def try_again(self, now: float) -> None:
        """Those whose time has come may begin, before all that never began."""
        while self._waiting and self._waiting[0][0] <= now:
            self._order.ready.appendleft(heappop(self._waiting)[2])

    def try_no_more(self) -> None:
        """Nothing begins any more, neither for the first time nor again."""
        self._waiting.clear()
        self._unfinished.open_no_more()

    def _wait_until(self, moment: float, entry: Entry) -> None:
        heappush(self._waiting, (moment, entry.lot.number + entry.index, entry))

    def _failure(self, entry: Entry, error: Exception) -> Failure:
        return Failure(self._kernel.step.site, error, entry.value, entry.members(), entry.attempt)

    # -- leaving --------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Emit what may leave now. Raises what the handler of a failed value raises: nothing may leave any more then."""
        while self._let_leave(self._order.take()):
            """Something that had been taken could not leave, and what is behind it has to be looked at anew."""
        mark = self._unfinished.mark()
        if mark > self._told:
            self._told = mark
            self._emit(progress(mark))

    def _let_leave(self, entries: Sequence[Entry]) -> bool:
        """Hand on what came of these, in order; True to look again."""
        start = 0
        for at, entry in enumerate(entries):
            if entry.failure is None:
                continue
            if not self._hand_results_on(entries, start, at):
                return True
            start = at + 1
            if not self._settle(entry, entry.failure):
                self._order.give_back(entries[at:])
                return False
        return not self._hand_results_on(entries, start, len(entries))

    def _hand_results_on(self, entries: Sequence[Entry], start: int, stop: int) -> bool:
        """Hand results on; False if one of them could not be used: it and all behind it were given back."""
        some = entries[start:stop]
        if not some:
            return True
        chunk: Chunk[Any] = Chunk([entry.value for entry in some], 0, origins_of(some))
        try:
            out = self._kernel.finish(chunk, [entry.result for entry in some])
        except Unusable as unusable:
            at = start + unusable.index
            self._order.give_back(entries[at + 1 :])
            self._reopen(entries[at], unusable.error)
            self._hand_results_on(entries, start, at)
            return False
        self._unfinished.finish(some)
        self._order.left(some)
        count = self._kernel.step.count
        count.received += len(some)
        count.emitted += self._kernel.emitted(out)
        out.mark = self._told = max(self._told, self._unfinished.mark())
        self._emit(out)
        return True

    def _reopen(self, entry: Entry, error: Exception) -> None:
        """What came of it cannot be used: it failed after all."""
        failure = self._failure(entry, error)
        moment = self._kernel.handler.again(failure)
        if moment is None:
            entry.failure = failure
            self._order.give_back([entry])
        else:
            again = entry.again()
            self._order.reopened(again)
            self._wait_until(moment, again)

    def _settle(self, entry: Entry, failure: Failure) -> bool:
        """Ask what to do about a failed value; False if it has to wait."""
        if self._kernel.handler.handle(failure) is Verdict.WAIT:
            return False
        self._kernel.step.count.received += 1
        self._unfinished.finish([entry])
        self._order.left([entry])
        return True
