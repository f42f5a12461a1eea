"""The face that all brokers have: sources and sinks for flows, besides what one does by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from re import Pattern
from typing import Any, Literal, TypeVar, overload

from flowdsl.brokers.protocols import OnGap, Start
from flowdsl.brokers.settings import checked_settings
from flowdsl.flow.arguments import checked_decode, checked_start, checked_topics, group_or_none
from flowdsl.flow.by_hand import NO_SETTINGS, ByHand, Decodes
from flowdsl.flow.flow import ClosedFlow, Flow
from flowdsl.flow.stats import Stats
from flowdsl.operators import checks, outgoing
from flowdsl.operators.codecs import Encoder
from flowdsl.operators.constants import INHERIT, Inherit
from flowdsl.operators.produce import Headers, ProduceTo, Text
from flowdsl.operators.source import BrokerSource, Tombstones
from flowdsl.plan.fragment import Fragment
from flowdsl.plan.hints import FB, Hint1
from flowdsl.plan.nodes import Plan
from flowdsl.plan.policy import OnError, error_policy

T = TypeVar("T")
Topics = str | Sequence[str] | Pattern[str]


class Broker(ByHand):
    """A broker, as flows and people use it. ``with`` closes it at the end."""

    @overload
    def source(
        self,
        topics: Topics,
        *,
        group_id: str | None = None,
        decode: None = None,
        start: Start = "earliest",
        tombstones: Literal["fail", "skip"] = "fail",
        on_gap: OnGap = "fail",
        settings: Mapping[str, object] = NO_SETTINGS,
        name: str | None = None,
    ) -> Flow[bytes]: ...
    @overload
    def source(
        self,
        topics: Topics,
        *,
        group_id: str | None = None,
        decode: None = None,
        start: Start = "earliest",
        tombstones: Literal["keep"],
        on_gap: OnGap = "fail",
        settings: Mapping[str, object] = NO_SETTINGS,
        name: str | None = None,
    ) -> Flow[bytes | None]: ...
    @overload
    def source(
        self,
        topics: Topics,
        *,
        group_id: str | None = None,
        decode: Decodes[T],
        start: Start = "earliest",
        tombstones: Literal["fail", "skip"] = "fail",
        on_gap: OnGap = "fail",
        settings: Mapping[str, object] = NO_SETTINGS,
        name: str | None = None,
    ) -> Flow[T]: ...
    @overload
    def source(
        self,
        topics: Topics,
        *,
        group_id: str | None = None,
        decode: Decodes[T],
        start: Start = "earliest",
        tombstones: Literal["keep"],
        on_gap: OnGap = "fail",
        settings: Mapping[str, object] = NO_SETTINGS,
        name: str | None = None,
    ) -> Flow[T | None]: ...
    def source(
        self,
        topics: Topics,
        *,
        group_id: str | None = None,
        decode: Decodes[Any] | None = None,
        start: Start = "earliest",
        tombstones: Tombstones = "fail",
        on_gap: OnGap = "fail",
        settings: Mapping[str, object] = NO_SETTINGS,
        name: str | None = None,
    ) -> Flow[Any]:
        """A flow of the records of topics: a name, several, or a compiled pattern that matches whole names.

        With a ``group_id`` offsets are committed and partitions shared with the other members; without one all
        partitions are read and nothing is committed. ``start``: where a group begins that has no offset yet.
        ``tombstones``: what becomes of null values. ``on_gap``: what happens when records are gone unread.

        Nothing is read before the flow runs; then a topic that does not exist raises TopicNotFound.

        >>> from flowdsl import TEXT, LocalBroker, to_list
        >>> broker = LocalBroker()
        >>> broker.write("greetings", ["hello", "world"])
        2
        >>> (broker.source("greetings", group_id="readers", decode=TEXT) | to_list()).run(until="end")
        ['hello', 'world']
        >>> broker.committed("readers")
        {Partition(topic=Topic(name='greetings'), index=0): 2}
        """
        return Flow(
            Plan(
                BrokerSource(
                    client=self.client,
                    topics=checked_topics(topics),
                    group_id=group_or_none(group_id),
                    decode=checked_decode(decode),
                    start=checked_start(start),
                    tombstones=checks.choice(tombstones, "tombstones", ("fail", "skip", "keep")),
                    on_gap=checks.choice(on_gap, "on_gap", ("fail", "earliest")),
                    settings=checks.settings(checked_settings(settings)),
                    name=name,
                )
            )
        )

    @overload
    def sink(
        self,
        topic: str | Callable[[Any], str],
        *,
        key: Text | Inherit | Callable[[Any], Text] = INHERIT,
        headers: Headers | Inherit | Callable[[Any], Headers] = INHERIT,
        timestamp: datetime | Inherit | Callable[[Any], datetime | None] | None = INHERIT,
        partition: int | Callable[[Any], int] | None = None,
        encode: None = None,
        settings: Mapping[str, object] = NO_SETTINGS,
        name: str | None = None,
        on_error: OnError | None = None,
    ) -> Fragment[Flow[Text], ClosedFlow[Stats]]: ...
    @overload
    def sink(
        self,
        topic: str | Callable[[Any], str],
        *,
        key: Text | Inherit | Callable[[Any], Text] = INHERIT,
        headers: Headers | Inherit | Callable[[Any], Headers] = INHERIT,
        timestamp: datetime | Inherit | Callable[[Any], datetime | None] | None = INHERIT,
        partition: int | Callable[[Any], int] | None = None,
        encode: FB | Hint1,
        settings: Mapping[str, object] = NO_SETTINGS,
        name: str | None = None,
        on_error: OnError | None = None,
    ) -> ProduceTo[FB]: ...
    @overload
    def sink(
        self,
        topic: str | Callable[[Any], str],
        *,
        key: Text | Inherit | Callable[[Any], Text] = INHERIT,
        headers: Headers | Inherit | Callable[[Any], Headers] = INHERIT,
        timestamp: datetime | Inherit | Callable[[Any], datetime | None] | None = INHERIT,
        partition: int | Callable[[Any], int] | None = None,
        encode: Encoder[T],
        settings: Mapping[str, object] = NO_SETTINGS,
        name: str | None = None,
        on_error: OnError | None = None,
    ) -> Fragment[Flow[T | None], ClosedFlow[Stats]]: ...
    def sink(
        self,
        topic: str | Callable[[Any], str],
        *,
        key: Text | Inherit | Callable[[Any], Text] = INHERIT,
        headers: Headers | Inherit | Callable[[Any], Headers] = INHERIT,
        timestamp: datetime | Inherit | Callable[[Any], datetime | None] | None = INHERIT,
        partition: int | Callable[[Any], int] | None = None,
        encode: Any = None,
        settings: Mapping[str, object] = NO_SETTINGS,
        name: str | None = None,
        on_error: OnError | None = None,
    ) -> Any:
        """Produce each value to a topic; its offset moves once the broker acknowledged it.

        Topic, key, headers, timestamp and partition are values or functions of the payload, before ``encode``.
        ``INHERIT``: that of the record the value came from. A payload of None is a tombstone. After a crash, values
        that were not done are produced again.

        >>> from flowdsl import JSON, LocalBroker, from_iterable
        >>> broker = LocalBroker()
        >>> (from_iterable([{"id": "a"}]) | broker.sink("orders", key=lambda order: order["id"], encode=JSON)).run().delivered
        1
        >>> [(record.key, record.value) for record in broker.read("orders")]
        [(b'a', b'{"id":"a"}')]
        """
        node: ProduceTo[Any] = ProduceTo(
            client=self.client,
            topic=outgoing.topic(topic),
            key=outgoing.key(key),
            headers=outgoing.headers(headers),
            timestamp=outgoing.timestamp(timestamp),
            partition=outgoing.partition(partition),
            encode=outgoing.encode(encode),
            settings=checks.settings(checked_settings(settings)),
            name=name,
            on_error=error_policy(on_error),
        )
        return node
