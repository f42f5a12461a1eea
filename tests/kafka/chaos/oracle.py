"""What must hold, from what was sent, what is in the sinks, and what was committed meanwhile."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tests.kafka.chaos.member import wanted


class Line(NamedTuple):
    """One record in a sink; sorts by when it was written."""

    when: int
    nth: int
    partition: int
    offset: int
    value: int


class Sinks:
    """The files of all members, read as they grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self.lines: list[Line] = []
        self._there: set[tuple[int, int]] = set()
        self._looked_at: Counter[int] = Counter()
        self._unheard: dict[int, list[int]] = defaultdict(list)

    def refresh(self) -> None:
        for path in sorted(self._folder.glob("*.sink")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text, newline, _ = file.read().rpartition(b"\n")  # the rest is still being written
            self._read[path] = self._read.get(path, 0) + len(text) + len(newline)
            for row in text.splitlines():
                partition, offset, value, when = map(int, row.split())
                self.lines.append(Line(when, len(self.lines), partition, offset, value))
                self._there.add((partition, offset))

    def holds(self, sent: Mapping[tuple[int, int], int], partition: int, below: int) -> int | None:
        """The first offset below that which is neither in a sink nor left out by the filter, or None.

        What was read before its producer heard of it is looked at again with each sample: it never hears of those whose
        acknowledgement was lost.
        """
        unheard: list[int] = []
        for offset in chain(self._unheard[partition], range(self._looked_at[partition], below)):
            if (partition, offset) not in self._there:
                value = sent.get((partition, offset))
                if value is None:
                    unheard.append(offset)
                elif wanted(str(value).encode()):
                    return offset
        self._unheard[partition] = unheard
        self._looked_at[partition] = max(below, self._looked_at[partition])
        return None

    @property
    def repeated(self) -> int:
        return len(self.lines) - len(self._there)


def faults_of(sinks: Sinks, sent: Mapping[tuple[int, int], int], unplaced: Collection[int]) -> list[str]:
    """What is lost, altered or out of order."""
    findings: list[str] = []
    found = {(line.partition, line.offset): line.value for line in sinks.lines}
    places = {**{place: value for place, value in found.items() if value in unplaced}, **sent}
    expected = {place: value for place, value in places.items() if wanted(str(value).encode())}
    missing = {value for value in unplaced if wanted(str(value).encode())} - set(found.values())
    if missing:
        findings.append(f"{len(missing)} records are lost, the first are the values {sorted(missing)[:5]}")
    lost = sorted(expected.keys() - found.keys())
    if lost:
        findings.append(f"{len(lost)} records are lost, the first are {lost[:5]}")
    altered = [place for place, value in found.items() if expected.get(place) != value]
    if altered:
        findings.append(f"{len(altered)} records in the sinks were not sent, the first are {altered[:5]}")
    return findings + out_of_order(sinks.lines, expected)


def out_of_order(lines: list[Line], expected: Mapping[tuple[int, int], int]) -> list[str]:
    """A record comes for the first time when every record before it came already; what comes again is a replay."""
    order: dict[int, list[int]] = defaultdict(list)
    for partition, offset in sorted(expected):
        order[partition].append(offset)
    next_new: Counter[int] = Counter()
    findings = []
    for line in sorted(lines):
        offsets, nth = order[line.partition], next_new[line.partition]
        if nth < len(offsets) and line.offset > offsets[nth]:
            findings.append(f"partition {line.partition}: {line.offset} came before {offsets[nth]}")
            break
        if nth < len(offsets) and line.offset == offsets[nth]:
            next_new[line.partition] += 1
    return findings
