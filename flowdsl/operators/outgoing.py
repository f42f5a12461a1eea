"""What users may give for the parts of a record that is produced: values, or functions of the payload.

Each check names the argument and the value; what the functions return is looked at record by record.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flowdsl.brokers.naming import check_topic_name
from flowdsl.brokers.outgoing import as_headers
from flowdsl.errors import shown
from flowdsl.operators.checks import aware, function
from flowdsl.operators.codecs import encoder_of
from flowdsl.operators.constants import Inherit


def topic(given: Any) -> Any:
    if isinstance(given, str):
        return check_topic_name(given)
    return _function(given, "topic", "a name or a function that returns one")


def key(given: Any) -> Any:
    if given is None or isinstance(given, bytes | str | Inherit):
        return given
    return _function(given, "key", "bytes, a text, None or a function that returns one of these")


def headers(given: Any) -> Any:
    if given is None or isinstance(given, Inherit):
        return given
    if callable(given):
        return function(given, "headers")
    return as_headers(given)


def timestamp(given: Any) -> Any:
    if given is None or isinstance(given, Inherit):
        return given
    if isinstance(given, datetime):
        return aware(given, "timestamp")
    return _function(given, "timestamp", "an aware datetime, None or a function that returns one")


def partition(given: Any) -> Any:
    if given is None:
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        if given < 0:
            msg = f"partition must be at least 0, but is {given}"
            raise ValueError(msg)
        return given
    return _function(given, "partition", "a number, None or a function that returns a number")


def encode(given: Any) -> Any:
    if given is not None:
        encoder_of(given, "encode")
    return given


def _function(given: Any, name: str, choices: str) -> Any:
    if not callable(given):
        msg = f"{name} must be {choices}, not {shown(given)}"
        raise TypeError(msg)
    return function(given, name)
