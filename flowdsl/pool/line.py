"""What waits for one function on a pool, and how much of it goes to a worker at once.

Values are put at one end by whoever uses the pool, and taken from the other by the pool's thread alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

BATCH_SECONDS = 0.02
"""A batch is as large as takes a worker so long: what it costs to send is little beside that, and nobody waits long."""
BATCH_BYTES = 1 << 20
"""And no larger than this, as far as one can tell from the batches before."""
MOST_DEATHS = 3
"""A value on which so many workers died is to blame, and fails."""


class Errand(Protocol):
    """A value that a function is to be called with. The outcome is written by the pool's thread, once, and then told.

    ``abandoned``: nobody wants the outcome any more. ``began``: when a worker began with it, as far as that was looked at.
    """

    value: Any
    began: float | None

    @property
    def abandoned(self) -> bool: ...

    def succeed(self, value: Any) -> None: ...

    def fail(self, error: BaseException) -> None: ...


Tell = Callable[[Sequence[Any]], None]
"""Called by the pool's thread with errands whose outcome is written, as many at once as came at once."""


def to_nobody(errands: Sequence[Any]) -> None:
    """A ``Tell`` for those who look at the outcomes themselves."""


class Pace:
    """How many values take ``BATCH_SECONDS``: from one on, twice as many each time, up to what was measured."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seconds: float | None = None
        self._bytes = 0.0
        self.limit = 1

    def learn(self, count: int, seconds: float, nbytes: int) -> None:
        """A batch of so many values, of so many bytes, took so long."""
        each = seconds / count
        self._seconds = each if self._seconds is None else (self._seconds + each) / 2
        self._bytes = max(nbytes / count, self._bytes / 2)
        fitting = min(BATCH_SECONDS / max(self._seconds, 1e-9), BATCH_BYTES / max(self._bytes, 1.0))
        self.limit = max(1, min(2 * self.limit, self._most, int(fitting)))


class Line:
    """One function, and the values that wait for it."""

    def __init__(self, number: int, body: bytes, *, is_context: bool, most: int, tell: Tell) -> None:
        self.number, self.body, self.is_context, self.tell = number, body, is_context, tell
        self.waiting: deque[Errand] = deque()
        self.pace = Pace(most)
        self.tried = threading.Event()
        """Set once a worker has loaded the function, or could not."""
        self.error: BaseException | None = None
        """Why nothing that waits here will ever be done."""
        self._suspects: dict[int, int] = {}

    def take(self, share: int) -> list[Errand]:
        """What goes to a worker next: that many, or what a batch may have. A suspect goes by itself."""
        taken: list[Errand] = []
        waiting, suspects = self.waiting, self._suspects
        wanted = min(self.pace.limit, share, len(waiting))
        if not suspects:
            return [each for each in [waiting.popleft() for _ in range(wanted)] if not each.abandoned]
        while len(taken) < wanted and waiting:
            if id(waiting[0]) in suspects and taken:
                break
            errand = waiting.popleft()
            if errand.abandoned:
                suspects.pop(id(errand), None)
                continue
            taken.append(errand)
            if id(errand) in suspects:
                break
        return taken

    def give_back(self, errands: Sequence[Errand], *, suspects: Sequence[Errand] = ()) -> None:
        """These were not done, and are next again. Suspects are tried one by one from now on."""
        for errand in suspects:
            self._suspects.setdefault(id(errand), 0)
        self.waiting.extendleft(reversed([errand for errand in errands if not errand.abandoned]))

    def blame(self, errand: Errand) -> bool:
        """A worker died while it had this one in hand. True if it happened too often for chance."""
        deaths = self._suspects[id(errand)] = self._suspects.get(id(errand), 0) + 1
        return deaths >= MOST_DEATHS

    def cleared(self, errands: Sequence[Errand]) -> None:
        """These have an outcome."""
        if self._suspects:
            for errand in errands:
                self._suspects.pop(id(errand), None)

    def fail(self, error: BaseException) -> None:
        """Nothing is done here any more. That is no outcome of any value: whoever uses the pool has to look at ``error``."""
        self.error = self.error or error
        self.waiting.clear()
        self.tried.set()


class Batch(Struct):
    """Values that went to a worker together. The first ``done`` of them came back."""

    number: int
    line: Line
    errands: list[Errand]
    nbytes: int
    done: int = 0

    def next(self, count: int) -> list[Errand]:
        """The next that came back."""
        first, self.done = self.done, self.done + count
        return self.errands[first : self.done]

    @property
    def rest(self) -> list[Errand]:
        """What has not come back."""
        return self.errands[self.done :]
