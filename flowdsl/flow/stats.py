"""What a run counted."""

from __future__ import annotations

from msgspec import Struct

from flowdsl.display.table import Cell, Table
from flowdsl.types import Partition


class StepStats(Struct, frozen=True):
    """One step: how many values it got, and how many it handed on."""

    name: str
    received: int
    emitted: int


class Stats(Struct, frozen=True):
    """A run so far. ``delivered`` counts values as the sinks got them: a list is one value; ``elapsed`` in seconds.

    Prints itself as a small table, in a terminal and in a notebook.
    """

    read: int
    delivered: int
    filtered: int
    failed: int
    in_flight: int
    committed: dict[Partition, int]
    elapsed: float
    steps: tuple[StepStats, ...]

    def __repr__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()

    def _table(self) -> Table:
        rate = f", {self.read / self.elapsed:,.0f}/s" if self.elapsed > 0 else ""
        title = f"{self.read:,} record{'' if self.read == 1 else 's'} read in {self.elapsed:,.2f} s{rate}"
        counted = (
            f"delivered {self.delivered:,}, filtered {self.filtered:,}, "
            f"failed {self.failed:,}, in flight {self.in_flight:,}"
        )
        offsets = ", ".join(f"{partition} {offset:,}" for partition, offset in sorted(self.committed.items()))
        rows = tuple(
            (Cell(step.name, "label"), Cell(f"{step.received:,}", "number"), Cell(f"{step.emitted:,}", "number"))
            for step in self.steps
        )
        notes = (counted, f"committed {offsets or 'nothing'}")
        return Table(title, ("step", "received", "emitted"), rows, notes)
