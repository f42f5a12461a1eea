"""Resident memory does not grow with the number of records: ten million take no more than one million, within 10 MB."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from events import BATCH, decode, enrich, events, keep, write

from flowdsl import batch, filter_, from_iterable, map_, sink

SMALL, LARGE = 1_000_000, 10_000_000
LIMIT_MB = 10.0
DIFFERENT = 10_000


def main() -> None:
    small, large = (peak_of(count) for count in (SMALL, LARGE))
    print(f"\nResident memory at its peak, each in a process of its own, Python {sys.version.split()[0]}")
    print(f"{SMALL:>10,} records: {small:6.1f} MB")
    print(f"{LARGE:>10,} records: {large:6.1f} MB")
    verdict = "ok" if large - small <= LIMIT_MB else "NOT REACHED"
    print(f"growth: {large - small:.1f} MB, at most {LIMIT_MB:.0f} expected: {verdict}")


def peak_of(count: int) -> float:
    """In MB, of a fresh process that runs the flow over so many records."""
    command = [sys.executable, str(Path(__file__).resolve()), str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # this file
    return float(done.stdout)


def run(count: int) -> None:
    flow = (
        from_iterable(lambda: again(count)) | map_(decode) | filter_(keep) | map_(enrich) | batch(BATCH) | sink(write)
    )
    stats = flow.run()
    assert stats.read == count


def again(count: int) -> Iterator[bytes]:
    """Copies of a few events, each made when it is wanted."""
    data = events(DIFFERENT)
    return islice((bytes(bytearray(raw)) for _ in range(count) for raw in data), count)


def peak() -> float:
    """Resident memory of this process at its peak, in MB; without what its parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) / 1024
    import resource  # noqa: PLC0415  # there is none on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(int(sys.argv[1]))
        print(peak())
    else:
        main()
