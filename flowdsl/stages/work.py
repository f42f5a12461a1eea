"""The work of a segment: a stack of chunks, each with the step that it is to enter.

When a step fails in mid-chunk, what is before the failed value goes on first and the rest stays below it on the stack,
so that order is kept whatever fails, waits or is tried again.
"""

from __future__ import annotations

from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.stages.failures import Failure
from flowdsl.stages.kernel import Fusable
from flowdsl.types import Partition


class Work:
    """A chunk that is to enter a step. ``results``: what is known already of the values behind a failed first one.

    ``passes``: it came before those that wait at its step. ``again_at``: when it is to be tried again, while it is
    parked; ``lanes``: which partitions it holds up meanwhile.
    """

    __slots__ = ("again_at", "attempts", "chunk", "failure", "index", "lanes", "passes", "results")

    def __init__(self, index: int, chunk: Chunk[Any], results: list[Any] | None = None) -> None:
        self.index, self.chunk = index, chunk
        self.results: list[Any] = [] if results is None else results
        self.failure: Failure | None = None
        self.attempts = 0
        self.passes = False
        self.again_at: float | None = None
        self.lanes: set[Partition] = set()

    def fail(self, kernel: Fusable, error: BaseException, attempts: int) -> None:
        """The first value failed, at that attempt; or all, where they fail together."""
        chunk = self.chunk
        members = chunk.origins.between(0, len(chunk) if kernel.whole else 1)
        given = chunk.values if kernel.whole else chunk.values[0]
        self.attempts = attempts
        self.failure = Failure(kernel.step.site, error, given, members, attempts)

    @property
    def place(self) -> tuple[int, list[Any], int, bool]:
        """At which step it is, what is known of it there, the attempts made, and whether it passes who waits."""
        return self.index, self.results, self.attempts, self.passes

    def drop_failed(self, kernel: Fusable) -> None:
        """What failed is dealt with: go on behind it."""
        self.chunk = self.chunk.tail(len(self.chunk) if kernel.whole else 1)
        self.failure, self.attempts = None, 0
