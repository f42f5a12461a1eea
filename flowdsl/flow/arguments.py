"""What users may say of topics, groups, and where to begin and end. Each check names the argument and the value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from re import Pattern
from typing import Any, cast

from flowdsl.brokers.naming import check_topic_name
from flowdsl.brokers.protocols import Last, Start
from flowdsl.errors import shown
from flowdsl.operators.checks import aware
from flowdsl.operators.codecs import decoder_of
from flowdsl.operators.constants import Inherit
from flowdsl.plan.nodes import Upstream
from flowdsl.processing.bounds import Until


def checked_topics(topics: object) -> Sequence[str] | Pattern[str]:
    """One name, several, or a compiled pattern of texts."""
    if isinstance(topics, Pattern):
        pattern: Pattern[Any] = topics  # pyright: ignore[reportUnknownVariableType]  # of texts or bytes, looked at next
        return _pattern(pattern)
    if isinstance(topics, str):
        return (_name_of(topics),)
    if not isinstance(topics, list | tuple | set | frozenset):
        msg = f"topics must be a name, a list of names or a compiled pattern, not {shown(topics)}"
        raise TypeError(msg)
    names = tuple(check_topic_name(name, "topics") for name in cast("Iterable[object]", topics))
    if not names:
        msg = f"topics must name at least one topic, but is {topics!r}"
        raise ValueError(msg)
    return names


def _name_of(topic: str) -> str:
    try:
        return check_topic_name(topic, "topics")
    except ValueError as wrong:
        if set(topic).isdisjoint("*+?|[]()^$\\"):
            raise
        msg = f"{wrong}; for a pattern give re.compile({topic!r})"
        raise ValueError(msg) from None


def _pattern(pattern: Pattern[Any]) -> Pattern[str]:
    if not isinstance(pattern.pattern, str):
        msg = f"topics must be a pattern of texts, not of bytes: {pattern!r}"
        raise TypeError(msg)
    return pattern


def checked_values(values: object, name: str = "values") -> Iterable[Any]:
    """Values, one record for each: a text or bytes would be taken apart, and is none."""
    if isinstance(values, str | bytes):
        msg = f"{name} must be an iterable of values, not {shown(values)}: for a single one write [{shown(values)}]"
        raise TypeError(msg)
    if not isinstance(values, Iterable) or isinstance(values, Upstream):
        hint = ": a flow ends in broker.sink(topic)" if isinstance(values, Upstream) else ""
        msg = f"{name} must be an iterable of values, not {shown(values)}{hint}"
        raise TypeError(msg)
    return values  # pyright: ignore[reportUnknownVariableType]  # of whatever the user has


def refuse_inherit(**parts: object) -> None:
    """What is written by hand comes from no record, so there is nothing to inherit."""
    for name, given in parts.items():
        if isinstance(given, Inherit):
            msg = f"{name} must not be INHERIT, since what is written by hand comes from no record: give a value, a function or None"
            raise ValueError(msg)  # noqa: TRY004  # a value among those of a sink


def checked_group(group_id: object) -> str:
    """The name of a group."""
    if not isinstance(group_id, str):
        msg = f"group_id must be the name of a group, not {shown(group_id)}"
        raise TypeError(msg)
    if not group_id:
        msg = "group_id must not be '', an empty text: name a group, or leave it out to read without one"
        raise ValueError(msg)
    return group_id


def group_or_none(group_id: object) -> str | None:
    return None if group_id is None else checked_group(group_id)


def checked_start(start: object) -> Start:
    """Where to begin."""
    if isinstance(start, datetime):
        return aware(start, "start")
    if isinstance(start, Last):
        return start
    words: dict[object, Start] = {"earliest": "earliest", "latest": "latest"}
    if isinstance(start, str) and start in words:
        return words[start]
    msg = f'start must be "earliest", "latest", an aware datetime or last(n), not {shown(start)}'
    raise ValueError(msg)


def checked_until(until: object) -> Until:
    """Where to end."""
    if isinstance(until, datetime):
        return aware(until, "until")
    if until is None:
        return None
    if until == "end":
        return "end"
    msg = f'until must be "end", an aware datetime or None, not {shown(until)}'
    raise ValueError(msg)


def checked_decode(decode: Any) -> Any:
    """A codec or a function, or None."""
    if decode is not None:
        decoder_of(decode, "decode")
    return decode
