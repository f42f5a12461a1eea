"""From a user's settings to what librdkafka is given: defaults before, what is fixed after.

What librdkafka refuses becomes a ValueError that names the setting. Secrets are taken out of its texts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from flowdsl.brokers.kafka.defaults import (
    EVERYWHERE,
    READING,
    READING_CLASSIC,
    READING_FIXED,
    WRITING,
    WRITING_FIXED,
    Default,
)
from flowdsl.brokers.kafka.errors import error_of
from flowdsl.brokers.protocols import Settings
from flowdsl.brokers.settings import protocol_of
from flowdsl.errors import NotAuthorized, told

T = TypeVar("T")
Protocol = Literal["eager", "cooperative", "consumer"]

library_log = logging.getLogger("flowdsl.librdkafka")
_SERVERS = ("bootstrap.servers", "metadata.broker.list")
_SECRET = re.compile(r"password|secret|passphrase|\.pem$|key|token|sasl\.oauthbearer|ssl_")
_SHORTEST_SECRET = 3
_REFUSALS = (KafkaException, SystemError, TypeError, ValueError)
"""What making a handle raises; the second where a callback raised meanwhile."""


class QuietLog:
    """librdkafka's own log, one level of noise for all of it: what matters comes as an error, and is told once."""

    def log(self, level: int, text: str, *arguments: object) -> None:  # noqa: ARG002  # the interface of loggers
        library_log.debug(text, *arguments)


def group_protocol(settings: Settings) -> Protocol:
    """How a group of these settings rebalances."""
    if str(settings.get("group.protocol", "classic")).lower() == "consumer":
        return "consumer"
    return protocol_of(settings)


def checked_servers(servers: object) -> str:
    """``host:port[,host:port...]``. Raises TypeError or ValueError."""
    if not isinstance(servers, str):
        msg = f"bootstrap_servers must be a text such as 'localhost:9092', not {servers!r}"
        raise TypeError(msg)
    parts = [part.strip() for part in servers.split(",")]
    if not all(re.fullmatch(r"([A-Za-z0-9+_]+://)?(\[[0-9a-fA-F:]+\]|[^\s:/@]+)(:\d{1,5})?", part) for part in parts):
        msg = f"bootstrap_servers must be host:port[,host:port...], but is {without_login(servers)!r}"
        raise ValueError(msg)
    return ",".join(parts)


def without_login(servers: str) -> str:
    return ",".join(part.rpartition("@")[2] for part in servers.split(","))


def refuse_servers(settings: Settings) -> None:
    for name in _SERVERS:
        if name in settings:
            msg = f"setting {name!r} is refused: the servers are the first argument of Kafka(...)"
            raise ValueError(msg)


def consumer_configuration(servers: str, settings: Settings, group_id: str | None) -> dict[str, Any]:
    """``group_id`` None: librdkafka asks for one all the same; it is never joined, and nothing is committed."""
    classic = () if group_protocol(settings) == "consumer" else READING_CLASSIC
    return {
        **_values(EVERYWHERE, READING, classic),
        "logger": QuietLog(),
        **settings,
        **_values(READING_FIXED),
        "bootstrap.servers": servers,
        "group.id": f"flowdsl-without-group-{uuid4().hex[:12]}" if group_id is None else group_id,
    }


def reader_configuration(servers: str, settings: Settings, group_id: str | None = None) -> dict[str, Any]:
    """A consumer that joins nothing and is only asked questions."""
    return consumer_configuration(servers, _of_nobody(settings), group_id)


_OF_MEMBERS = frozenset(
    {"group.instance.id", "group.protocol", "group.remote.assignor", "statistics.interval.ms", "stats_cb"}
)


def producer_configuration(servers: str, settings: Settings) -> dict[str, Any]:
    return {
        **_values(EVERYWHERE, WRITING),
        "logger": QuietLog(),
        **settings,
        **_values(WRITING_FIXED),
        "bootstrap.servers": servers,
    }


def admin_configuration(servers: str, settings: Settings) -> dict[str, Any]:
    return {**_values(EVERYWHERE), "logger": QuietLog(), **_of_nobody(settings), "bootstrap.servers": servers}


def _of_nobody(settings: Settings) -> dict[str, Any]:
    """For handles that are only asked. Between questions nobody polls them, and what they log would pile up."""
    return {"log_level": 0, **{name: value for name, value in settings.items() if name not in _OF_MEMBERS}}


def check_values(settings: Settings) -> None:
    """Have librdkafka look at the values, without connecting. Raises ValueError for one that it refuses."""
    plain = {name: value for name, value in settings.items() if not callable(value)}
    if str(plain.get("sasl.mechanism", plain.get("sasl.mechanisms"))).upper() == "OAUTHBEARER":
        plain.pop("sasl.oauthbearer.method", None)  # else a token would be asked for
        plain["enable.sasl.oauthbearer.unsecure.jwt"] = True
    for make, configuration in (
        (Consumer, consumer_configuration("", plain, None)),
        (Producer, producer_configuration("", plain)),
    ):
        del configuration["bootstrap.servers"]
        made(make, configuration)


def _values(*tables: Iterable[Default]) -> dict[str, Any]:
    return {default.name: default.value for table in tables for default in table}


def made(make: Callable[[dict[str, Any]], T], configuration: dict[str, Any]) -> T:
    """A handle of librdkafka. Raises ValueError for a setting that it refuses, NotAuthorized where there is no token."""
    tokens = Tokens(configuration.get("oauth_cb"))
    try:
        return make({**configuration, "oauth_cb": tokens} if callable(tokens.ask) else configuration)
    except _REFUSALS as refused:
        error = error_of(refused)
    if tokens.raised is not None or error.code() == KafkaError.SASL_AUTHENTICATION_FAILED:
        why = error.str() if tokens.raised is None else f"it raised {told(tokens.raised)}"
        msg = f"oauth_cb gave no token: {why}. It must return the token, and when that expires in seconds since 1970"
        raise NotAuthorized(msg) from tokens.raised
    msg = f"Kafka's client refuses these settings: {without_secrets(error.str().strip(), configuration)}"
    raise ValueError(msg)


class Tokens:
    """The user's ``oauth_cb``, which is called while a handle is made; keeps what it raised, since that gets lost."""

    def __init__(self, ask: Any) -> None:
        self.ask = ask
        self.raised: BaseException | None = None

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.ask(*arguments)
        except BaseException as raised:
            self.raised = raised
            raise


def without_secrets(text: str, settings: Mapping[str, Any]) -> str:
    """The text without the values of settings that are nobody's business."""
    for name, value in settings.items():
        if _SECRET.search(name) and isinstance(value, str) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "***")
    return text
