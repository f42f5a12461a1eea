"""When offsets that are done are committed, in the words of users."""

from __future__ import annotations

from flowdsl.clock import Duration, optional_seconds
from flowdsl.interface.arguments import count
from flowdsl.types import IMMEDIATE, NEVER, CommitPolicy

immediately = IMMEDIATE
"""Commit whatever is done at once: the fewest repetitions after a crash, and the most work for the broker."""

never = NEVER
"""Commit nothing at all: every run of the group begins where the last commit of another one left it."""


def every(*, seconds: Duration | None = None, messages: int | None = None) -> CommitPolicy:
    """Commit what is done when so much time has passed, or so many records are done, whichever comes first.

    What is done and not committed is read again after a crash.

    >>> every(seconds=5.0, messages=10_000)
    CommitPolicy(min_commit_frequency_sec=5.0, min_commit_messages=10000)
    """
    if seconds is None and messages is None:
        msg = "every needs seconds=, messages= or both; to commit nothing there is never"
        raise ValueError(msg)
    limit = None if messages is None else count(messages, "messages")
    return CommitPolicy(optional_seconds(seconds, "seconds"), limit)
