"""All consumer groups of one embedded broker, by name."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from flowdsl.brokers.local.group import Group
from flowdsl.clock import Clock


class Coordinator:
    """``accepts_stale_commits``: take commits of members that were expelled, as real brokers were seen to do."""

    def __init__(self, clock: Clock, notify: Callable[[], None], *, accepts_stale_commits: bool = False) -> None:
        self._clock = clock
        self._notify = notify
        self._accepts_stale_commits = accepts_stale_commits
        self._groups: dict[str, Group] = {}
        # Guards the dict of groups alone; nothing else is locked under it.
        self._lock = Lock()

    def group(self, name: str) -> Group:
        """The group of that name, which comes into being by being asked for."""
        with self._lock:
            if name not in self._groups:
                self._groups[name] = Group(
                    name, self._clock, self._notify, accepts_stale_commits=self._accepts_stale_commits
                )
            return self._groups[name]

    def forget(self, topic: str) -> None:
        """A topic was deleted."""
        with self._lock:
            groups = list(self._groups.values())
        for group in groups:
            group.forget(topic)
