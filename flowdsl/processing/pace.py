"""How many records are read at once, and how many are handed to the pipeline at once.

A slice starts at one record and grows towards ``SLICE_SECONDS`` of work, so that a slow function does not hold up a stop,
a rebalance or a commit; a read is about as much as is worked off in ``READ_SECONDS``.
"""

from __future__ import annotations

from flowdsl.records import Records

SLICE_SECONDS = 0.05
FASTEST = 16
"""A slice is at most so many times as large as the one before."""
READ_SECONDS = 1.0
READ_BYTES = 4 * 1024 * 1024


def growth(took: float, wanted: float) -> float:
    """How many times as much, by what the last piece took, is worth ``wanted`` seconds: more than once, not too many."""
    return FASTEST if took * FASTEST < wanted else wanted / took


class Pace:
    """Learns from how long things took. Neither a read nor a slice is ever larger than ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.slice = 1
        self.read = self._largest = most
        self._records = 0
        self._seconds = 0.0

    def worked(self, records: int, seconds: float) -> None:
        """So many records were handed on in so many seconds."""
        if seconds > 2 * SLICE_SECONDS:
            self.slice = max(1, self.slice // 2)
        elif seconds < SLICE_SECONDS / 2 and self.slice <= records < self._most:
            self.slice = min(self._most, int(self.slice * growth(seconds, SLICE_SECONDS)))
        self._records += records
        self._seconds += seconds

    def arrived(self, records: Records) -> None:
        """A read brought these: choose how large the next one may be."""
        if self._seconds > READ_SECONDS / 100:
            self.read = max(1, min(self._largest, int(self._records * READ_SECONDS / self._seconds)))
            self._records, self._seconds = 0, 0.0
        mean = records.nbytes() / max(1, len(records))
        self._largest = self._most if mean * self._most <= READ_BYTES else max(1, int(READ_BYTES / mean))
        self.read = min(self.read, self._largest)
