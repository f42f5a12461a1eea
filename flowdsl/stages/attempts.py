"""The attempts of one stage that are under way: handed out, collected, given up when their time is over."""

from __future__ import annotations

from collections.abc import Sequence

from flowdsl.reactive.bell import Bell
from flowdsl.reactive.workers import Outlet, Workers
from flowdsl.stages.unfinished import Entry


class Attempts:
    """What workers were given. What an attempt brings that does not count any more is looked at by nobody."""

    def __init__(self, workers: Workers, bell: Bell, timeout: float | None) -> None:
        self._workers, self._bell, self._timeout = workers, bell, timeout
        self._clock = workers.clock
        self.outlet = Outlet(bell)
        self._counting: dict[Entry, None] = {}
        """Those under way, in the order in which they were handed out; what others bring does not count."""
        self._late_at: float | None = None
        """When the first of them may have exceeded its time."""

    @property
    def under_way(self) -> int:
        return len(self._counting)

    @property
    def capacity(self) -> int:
        return self._workers.capacity

    @property
    def room(self) -> int:
        """How many more may be handed out."""
        return self._workers.capacity - len(self._counting)

    @property
    def has_news(self) -> bool:
        return bool(self.outlet.done)

    def begin(self, entries: Sequence[Entry]) -> None:
        """Hand these out."""
        self._counting.update(dict.fromkeys(entries))
        self._bell.under_way += len(entries)
        if self._timeout is not None and self._late_at is None:
            self._late_at = self._clock() + self._timeout
        self._workers.hand_out(entries)

    def collect(self) -> list[Entry]:
        """What came to an end, well or not. Raises FlowError if the workers cannot go on."""
        self._workers.check()
        self._bell.news = False
        done, counting = self.outlet.done, self._counting
        ended: list[Entry] = []
        while done:
            entry = done.popleft()
            if entry in counting:
                del counting[entry]
                ended.append(entry)
        self._bell.under_way -= len(ended)
        return ended

    def give_up_late(self) -> list[Entry]:
        """What exceeded its time: nobody looks at what it still brings. Raises FlowError where too many did."""
        now = self._clock()
        if self._timeout is None or self._late_at is None or now < self._late_at:
            return []
        late, others = list[Entry](), list[float]()
        for entry in self._counting:
            if entry.outcome is None:
                until = (now if entry.began is None else entry.began) + self._timeout
                if until > now:
                    others.append(until)
                else:
                    late.append(entry)
        self._late_at = min(others, default=None)
        for entry in late:
            self._abandon(entry)
            self._workers.give_up(entry)
        return late

    def cancel(self, *, begun: bool) -> None:
        """Nobody wants them any more; with ``begun=False`` only those that have not begun."""
        entries = [entry for entry in self._counting if begun or entry.began is None]
        for entry in entries:
            self._abandon(entry)
        if entries:
            self._workers.cancel(entries)

    def wait_for_some(self, seconds: float) -> None:
        """Let that time pass, or less: until so many are done that it is worth looking at them."""
        enough = self.capacity // self._workers.wakes
        self._workers.wait(seconds, self.outlet, max(1, min(enough, self.under_way)))

    def deadline(self) -> float | None:
        """When to collect again at the latest."""
        if self.outlet.done:
            return self._clock()
        if not self._counting:
            return None
        moments = (self._workers.deadline(), self._late_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def _abandon(self, entry: Entry) -> None:
        entry.abandoned = True
        del self._counting[entry]
        self._bell.under_way -= 1
