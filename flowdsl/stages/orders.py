"""In which order values may begin, and in which order they may leave: the three promises of a concurrent step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

from flowdsl.stages.unfinished import Entry
from flowdsl.types import Partition


class Order(ABC):
    """Where the entries of one stage are between their arrival and the moment in which they leave."""

    def __init__(self) -> None:
        self.ready: deque[Entry] = deque()
        """What may begin, in this order."""

    def arrived(self, entries: Sequence[Entry]) -> None:
        """Values were accepted. One that failed before it could begin does not begin."""
        self.ready.extend([entry for entry in entries if not entry.is_done])

    @abstractmethod
    def ended(self, entries: Sequence[Entry]) -> None:
        """Their work came to its end, well or not."""

    @abstractmethod
    def take(self) -> list[Entry]:
        """What may leave now, in this order."""

    @abstractmethod
    def give_back(self, entries: Sequence[Entry]) -> None:
        """These could not leave after all, and will be the first to leave next time."""

    def left(self, entries: Sequence[Entry]) -> None:  # noqa: B027  # for those that hold others back
        """They left, or were dropped."""

    def replaced(self, entry: Entry, again: Entry) -> None:  # noqa: B027  # for those that keep entries in order
        """It did not end well, and is tried again."""

    def reopened(self, again: Entry) -> None:  # noqa: B027  # for those that keep entries in order
        """What was taken first has a result that cannot be used, and is tried again."""

    @property
    @abstractmethod
    def has_leaving(self) -> bool:
        """Whether ``take`` has something to give."""


class AsReady(Order):
    """Values leave as soon as they are ready, and pass each other."""

    def __init__(self) -> None:
        super().__init__()
        self._done: deque[Entry] = deque()

    def arrived(self, entries: Sequence[Entry]) -> None:
        super().arrived(entries)
        self._done.extend([entry for entry in entries if entry.is_done])

    def ended(self, entries: Sequence[Entry]) -> None:
        self._done.extend(entries)

    @property
    def has_leaving(self) -> bool:
        return bool(self._done)

    def take(self) -> list[Entry]:
        done, self._done = self._done, deque()
        return list(done)

    def give_back(self, entries: Sequence[Entry]) -> None:
        self._done.extendleft(reversed(entries))


class ByKey(AsReady):
    """One at a time for each key; keys pass each other."""

    def __init__(self) -> None:
        super().__init__()
        self._lanes: dict[object, deque[Entry]] = {}

    def arrived(self, entries: Sequence[Entry]) -> None:
        first: list[Entry] = []
        for entry in entries:
            lane = self._lanes.get(entry.key)
            if lane is None:
                self._lanes[entry.key] = deque()
                first.append(entry)
            else:
                lane.append(entry)
        super().arrived(first)

    def left(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            lane = self._lanes[entry.key]
            if lane:
                self.ready.append(lane.popleft())
            else:
                del self._lanes[entry.key]


class AsArrived(Order):
    """Values leave in the order in which they came. One that is tried again is passed by those of other partitions."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: deque[Entry] = deque()
        self._has_ended = False
        """Whether anything ended since it was last looked at what may pass others."""

    def arrived(self, entries: Sequence[Entry]) -> None:
        super().arrived(entries)
        self._entries.extend(entries)

    def ended(self, entries: Sequence[Entry]) -> None:  # noqa: ARG002  # they stand where they stand
        """Their turn comes when they are the first, or may pass the first."""
        self._has_ended = True

    def take(self) -> list[Entry]:
        entries, taken = self._entries, list[Entry]()
        while entries and entries[0].is_done:
            taken.append(entries.popleft())
        if self._has_ended and entries and entries[0].waits:
            taken += self._passing()
        self._has_ended = False
        return taken

    def _passing(self) -> list[Entry]:
        """Those behind one that is tried again, as far as none before them is of the same partition."""
        kept, taken = deque[Entry](), list[Entry]()
        held: set[Partition] = set()
        entries = self._entries
        while entries:
            entry = entries.popleft()
            partitions = entry.partitions()
            if entry.is_done and not partitions & held:
                taken.append(entry)
                continue
            kept.append(entry)
            held |= partitions
            if not entry.is_done and not entry.waits:
                break
        kept.extend(entries)
        self._entries = kept
        return taken

    def give_back(self, entries: Sequence[Entry]) -> None:
        self._entries.extendleft(reversed(entries))

    def replaced(self, entry: Entry, again: Entry) -> None:
        self._entries[self._entries.index(entry)] = again

    def reopened(self, again: Entry) -> None:
        self._entries.appendleft(again)

    @property
    def has_leaving(self) -> bool:
        return bool(self._entries) and self._entries[0].is_done
