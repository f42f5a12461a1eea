"""What was in memory before a run begins is not searched for garbage again and again while it runs.

Whoever reads makes an object for each record, and every few ten thousand of them have the collector look at all there is:
modules, classes, whatever the program holds. That cost a tenth of the time of a flow. What the run makes is collected as
ever; what was there before and becomes garbage in a cycle meanwhile is collected when the last run is over.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Generator
from contextlib import contextmanager


class Heap:
    """The memory of this process. A program that has frozen some of it already has that left as it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._is_frozen = False

    @contextmanager
    def settled(self) -> Generator[None]:
        """Until the last of those who asked for it is through."""
        with self._lock:
            self._runs += 1
            if self._runs == 1 and not gc.get_freeze_count():
                self._is_frozen = True
                gc.freeze()
        try:
            yield
        finally:
            with self._lock:
                self._runs -= 1
                if not self._runs and self._is_frozen:
                    self._is_frozen = False
                    gc.unfreeze()


HEAP = Heap()
