"""Names of topics: which are legal, which are meant by a subscription, and what to say when one does not exist."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from flowdsl.brokers.protocols import Topics
from flowdsl.errors import BrokerError, DeliveryFailed, TopicNotFound, shown

_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_LISTED = 20


def check_topic_name(name: object, argument: str = "topic") -> str:
    """The name itself. Raises TypeError or ValueError for one that no broker would take."""
    if not isinstance(name, str):
        msg = f"{argument} must be the name of a topic, not {shown(name)}"
        raise TypeError(msg)
    if not _LEGAL.fullmatch(name) or name in {".", ".."}:
        msg = f"{argument} must be 1 to 249 letters, digits, dots, underscores or dashes, but is {shown(name)}"
        raise ValueError(msg)
    return name


def topic_not_found(missing: str, existing: Iterable[str], broker: str) -> TopicNotFound:
    """The error for a topic that does not exist: close matches first, then all the others."""
    names = sorted(existing)
    close = get_close_matches(missing, names, n=5, cutoff=0.5)
    those = _listed(close + [name for name in names if name not in close])
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return TopicNotFound(
        f"topic {missing!r} does not exist on {broker}; {those}.{hint} Make it with create_topic({missing!r})."
    )


def without_partition(topic: str, index: int, count: int) -> DeliveryFailed:
    """The error for a record that is to go into a partition that is not there."""
    return DeliveryFailed(f"topic {topic!r} has {count} partitions, and none with the number {index}")


def made_anew(name: str, broker: str) -> BrokerError:
    """The error for a topic that is another one than the one that was read."""
    return BrokerError(
        f"topic {name!r} was deleted and made anew on {broker} while it was read: its records have other offsets now, and what "
        "the group committed may not fit them. Read it with a new group_id"
    )


def check_matches(pattern: re.Pattern[str], existing: Collection[str], broker: str) -> None:
    """Raise TopicNotFound if the pattern matches no topic."""
    if not any(pattern.fullmatch(name) for name in existing):
        msg = f"no topic of {broker} matches the whole of the pattern {pattern.pattern!r}; {_listed(sorted(existing))}"
        raise TopicNotFound(msg)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"it has: {', '.join(names[:_LISTED])}{more}" if names else "it has no topics yet"


def topics_meant(topics: Topics, existing: Collection[str], broker: str) -> list[str]:
    """The topics that a subscription means now, sorted. Raises TopicNotFound for a name that does not exist."""
    if isinstance(topics, re.Pattern):
        return sorted(name for name in existing if topics.fullmatch(name))
    for name in topics:
        if name not in existing:
            raise topic_not_found(name, existing, broker)
    return sorted(set(topics))
