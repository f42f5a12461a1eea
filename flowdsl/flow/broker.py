"""``Kafka``, ``LocalBroker``, and ``connect``: a broker from a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from flowdsl.brokers.kafka.client import KafkaClient
from flowdsl.brokers.local.client import LocalClient
from flowdsl.brokers.settings import checked_settings
from flowdsl.flow.by_hand import NO_SETTINGS
from flowdsl.flow.face import Broker
from flowdsl.interface.arguments import count

VARIABLE = "FLOWDSL_BROKER"
FORMS = "kafka://host:9092[,host...][?setting=value] or local:"


class Kafka(Broker):
    """An Apache Kafka. ``settings`` are librdkafka's own dotted names, and hold for every source and sink of it.

    Nothing connects before something is run or asked. Raises ValueError for a setting that does not exist, that Kafka's
    client refuses, or that would break delivery.

    >>> from flowdsl import Kafka
    >>> kafka = Kafka("localhost:9092", {"security.protocol": "PLAINTEXT"})
    >>> kafka.source("orders", group_id="billing").plan.source.topics
    ('orders',)
    """

    def __init__(self, bootstrap_servers: str, settings: Mapping[str, object] = NO_SETTINGS) -> None:
        super().__init__(KafkaClient(bootstrap_servers, settings))

    def __repr__(self) -> str:
        return f"<{self.client.name}>"


class LocalBroker(Broker):
    """A broker in memory. It makes a topic on the first write, with ``partitions`` partitions. Two share nothing.

    >>> from flowdsl import LocalBroker
    >>> with LocalBroker(partitions=3) as broker:
    ...     broker.write("orders", ["one"], key="k")
    ...     broker.topics()
    1
    {'orders': 3}
    """

    def __init__(self, *, partitions: int = 1) -> None:
        super().__init__(LocalClient(partitions=count(partitions, "partitions")))

    def __repr__(self) -> str:
        return f"<LocalBroker at {id(self):#x}>"


def connect(url: str | None = None) -> Broker:
    """The broker that a URL names: ``kafka://host:9092[,host...][?setting=value]`` or ``local:``.

    Without one $FLOWDSL_BROKER is asked, and without that it is the embedded broker. Anything else is a ValueError.

    >>> from flowdsl import connect
    >>> connect("local:").topics()
    {}
    """
    if url is not None and not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
        msg = f"url must be a text such as {FORMS}, not {url!r}"
        raise TypeError(msg)
    origin, given = ("url", url) if url is not None else (f"${VARIABLE}", os.environ.get(VARIABLE) or "local:")
    if given == "local:":
        return LocalBroker()
    if given.startswith("kafka://"):
        return Kafka(*kafka_address(given, origin))
    msg = f"{origin} must be {FORMS}, but is {without_secrets(given)!r}"
    raise ValueError(msg)


def kafka_address(url: str, origin: str = "url") -> tuple[str, dict[str, str]]:
    """The servers and settings in a Kafka URL. Raises ValueError naming what is wrong."""
    address, _, query = url.removeprefix("kafka://").partition("?")
    if "@" in address:
        msg = f"{origin} must not hold a user or password; give them as settings, sasl.username and sasl.password"
        raise ValueError(msg)
    servers = [server.strip() for server in address.removesuffix("/").split(",")]
    if not all(servers) or "/" in "".join(servers) or "#" in url:
        msg = f"{origin} must be kafka://host:9092[,host...][?setting=value], but is {without_secrets(url)!r}"
        raise ValueError(msg)
    settings = _settings(query)
    checked_settings(settings)
    return ",".join(servers), settings


def without_secrets(url: str) -> str:
    """A URL as it may be shown: without user, password and the values of settings."""
    address, _, query = url.partition("?")
    scheme, slashes, rest = address.rpartition("://")
    names = "&".join(f"{name}=..." for name in _settings(query))
    shown = f"{scheme}{slashes}{rest.rpartition('@')[2]}"
    return f"{shown}?{names}" if names else shown


def _settings(query: str) -> dict[str, str]:
    items = (item.partition("=") for item in query.split("&") if item)
    return {_unquoted(name): _unquoted(value) for name, _, value in items}


def _unquoted(text: str) -> str:
    """What a URL writes with signs: ``%26`` for an ampersand, a plus for a blank."""
    plain = re.sub(rb"%([0-9A-Fa-f]{2})", lambda code: bytes.fromhex(code[1].decode()), text.replace("+", " ").encode())
    return plain.decode(errors="replace")
