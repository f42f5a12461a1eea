"""Where a test's records go: the topics and partitions that a flow reads."""

from __future__ import annotations

from re import Pattern
from typing import Any

from flowdsl.brokers.outgoing import as_bytes
from flowdsl.errors import shown
from flowdsl.operators.source import BrokerSource, MergedSource, leaves
from flowdsl.operators.values import ValuesSource
from flowdsl.plan.nodes import Source
from flowdsl.types import Partition, Topic


class Addresses:
    """The topics of one flow."""

    def __init__(self, source: Source) -> None:
        sources = leaves(source)
        self._brokers = [each for each in sources if isinstance(each, BrokerSource)]
        self.in_memory = not self._brokers
        self._in_turn = (
            [each for each in sources if isinstance(each, ValuesSource)] if isinstance(source, MergedSource) else []
        )
        names = [name for each in self._brokers if not isinstance(each.topics, Pattern) for name in each.topics]
        self._names = [""] if self.in_memory else list(dict.fromkeys(names))
        self._has_patterns = any(isinstance(each.topics, Pattern) for each in self._brokers)

    def partition(self, given: int | Partition, topic: str | None = None) -> Partition:
        """The partition that is meant. Raises ValueError naming what cannot be."""
        if isinstance(given, Partition):
            topic, given = given.topic.name, given.index
        if not isinstance(given, int) or isinstance(given, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
            msg = f"partition must be a number or a Partition, not {shown(given)}"
            raise TypeError(msg)
        if given < 0:
            msg = f"partition must be at least 0, but is {given}"
            raise ValueError(msg)
        if self._in_turn and given >= len(self._in_turn):
            msg = f"partition must be below {len(self._in_turn)}, since the k-th source of the merge reads partition k, but is {given}"
            raise ValueError(msg)
        return Partition(Topic(self._topic(topic)), given)

    def raw(self, value: Any) -> Any:
        """A value as the source gets it: bytes or None from a broker, anything from memory."""
        if self.in_memory:
            return value
        if value is not None and not isinstance(value, bytes | bytearray | memoryview | str):
            msg = f"value must be what the broker would have: bytes, a text or None, not {shown(value)}"
            raise TypeError(msg)
        return as_bytes(value, "value")

    def _topic(self, given: str | None) -> str:
        if given is None:
            if len(self._names) == 1 and not self._has_patterns:
                return self._names[0]
            known = ", ".join(map(repr, self._names)) or "a pattern"
            msg = f"topic must be given, or a Partition, since the flow reads {known}"
            raise ValueError(msg)
        if given not in self._names and not any(each.reads(given) for each in self._brokers):
            msg = f"topic must be one that the flow reads, not {given!r}; it reads {', '.join(map(repr, self._names)) or 'a pattern'}"
            raise ValueError(msg)
        return given
