"""What a simulation ends in: a report, or the seed that broke a promise, told so that it can be read and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from flowdsl.errors import FlowError

SHOWN_LINES = 80


class Report(Struct, frozen=True):
    """What a simulation saw. ``longest_without_commit`` in virtual seconds, of any group in any of the runs.

    ``lives``: how many members there were; ``replays``: how many values reached a sink more often than once.
    """

    seeds: int
    lives: int
    replays: int
    longest_without_commit: float

    def __add__(self, other: Report) -> Report:
        return Report(
            self.seeds + other.seeds,
            self.lives + other.lives,
            self.replays + other.replays,
            max(self.longest_without_commit, other.longest_without_commit),
        )


class SimulationFailed(FlowError):  # noqa: N818  # named for what happened
    """A promise was broken.

    ``seed``: in which run; ``check``: which promise; ``reason``: how; ``trace``: the run, line by line; ``again``: the
    call that repeats it.
    """

    def __init__(self, seed: int, check: str, reason: str, trace: Sequence[str], again: str) -> None:
        super().__init__(seed, check, reason, trace, again)
        self.seed, self.check, self.reason, self.trace, self.again = seed, check, reason, tuple(trace), again

    def __str__(self) -> str:
        left_out = len(self.trace) - SHOWN_LINES
        start = f"  ... {left_out} lines before, see .trace\n" if left_out > 0 else ""
        lines = "\n".join(f"  {line}" for line in self.trace[-SHOWN_LINES:])
        return (
            f"seed {self.seed} broke the promise {self.check!r}: {self.reason}\n"
            f"  seconds    who       what\n{start}{lines}\n"
            f"  again: {self.again}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.seed, self.check, self.reason, self.trace, self.again)
