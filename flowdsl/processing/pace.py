"""How many records are read at once, and how many are handed to the pipeline at once.

A slice starts at one record and grows towards ``SLICE_SECONDS`` of work, so that a slow function does not hold up a stop,
a rebalance or a commit; a read is about as much as is worked off in ``READ_SECONDS``.
"""

from __future__ import annotations

from flowdsl.records import Records

SLICE_SECONDS = 0.05
FASTEST = 16
"""A slice is at most so many times as large as the one before."""
LARGEST_SLICE = 2000
"""A whole read. Fewer cost more for each record; many more leave the processor's cache."""
READ_SECONDS = 1.0
LARGEST_READ = 2000
READ_BYTES = 4 * 1024 * 1024


def growth(took: float, wanted: float) -> float:
    """How many times as much, by what the last piece took, is worth ``wanted`` seconds: more than once, not too many."""
    return FASTEST if took * FASTEST < wanted else wanted / took


class Pace:
    """Learns from how long things took."""

    def __init__(self) -> None:
        self.slice = 1
        self.read = LARGEST_READ
        self._largest = LARGEST_READ
        self._records = 0
        self._seconds = 0.0

    def worked(self, records: int, seconds: float) -> None:
        """So many records were handed on in so many seconds."""
        if seconds > 2 * SLICE_SECONDS:
            self.slice = max(1, self.slice // 2)
        elif seconds < SLICE_SECONDS / 2 and self.slice <= records < LARGEST_SLICE:
            self.slice = min(LARGEST_SLICE, int(self.slice * growth(seconds, SLICE_SECONDS)))
        self._records += records
        self._seconds += seconds

    def arrived(self, records: Records) -> None:
        """A read brought these: choose how large the next one may be."""
        if self._seconds > READ_SECONDS / 100:
            self.read = max(1, min(self._largest, int(self._records * READ_SECONDS / self._seconds)))
            self._records, self._seconds = 0, 0.0
        mean = records.nbytes() / max(1, len(records))
        self._largest = LARGEST_READ if mean * LARGEST_READ <= READ_BYTES else max(1, int(READ_BYTES / mean))
        self.read = min(self.read, self._largest)
