"""A broker's topic at the end of a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from attrs import field, frozen

from flowdsl.brokers.outgoing import as_bytes, as_headers, as_timestamp, part_of, partition_index, topic_name
from flowdsl.brokers.protocols import Client, Outgoing
from flowdsl.chunks import Chunk
from flowdsl.operators import outgoing
from flowdsl.operators.checks import Items, settings
from flowdsl.operators.codecs import Encoder, encoder_of
from flowdsl.operators.constants import INHERIT, Inherit
from flowdsl.plan.hints import F_co, T
from flowdsl.plan.shapes import Chaining, put
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import Done, Kernel
from flowdsl.stages.parts import Build, Part, Standing, Strategy
from flowdsl.stages.producing import ProduceStage

if TYPE_CHECKING:
    from flowdsl.flow.flow import ClosedFlow, Flow
    from flowdsl.flow.stats import Stats

Text = bytes | str | None
Headers = Iterable[tuple[str, bytes | None]] | None


@frozen(kw_only=True)
class ProduceTo(Chaining, Generic[F_co]):
    """Produce each value; its offset moves once the broker acknowledged it.

    Topic, key, headers, timestamp and partition are values or functions of the payload, before ``encode``.
    ``settings`` are items.
    """

    word = "sink"
    client: Client = field(repr=False)
    topic: str | Callable[[Any], str] = field(converter=outgoing.topic)
    key: Inherit | Callable[[Any], Text] | Text = field(default=INHERIT, converter=outgoing.key)
    headers: Headers | Inherit | Callable[[Any], Headers] = field(default=INHERIT, converter=outgoing.headers)
    timestamp: datetime | Inherit | Callable[[Any], datetime | None] | None = field(
        default=INHERIT, converter=outgoing.timestamp
    )
    partition: int | Callable[[Any], int] | None = field(default=None, converter=outgoing.partition)
    encode: Encoder[Any] | Callable[[Any], bytes | str] | None = field(default=None, converter=outgoing.encode)
    settings: Items = field(default=Items(), converter=settings)

    def __call__(self: ProduceTo[Callable[[T], bytes | str]], up: Flow[T | None], /) -> ClosedFlow[Stats]:
        closed: ClosedFlow[Stats] = put(self, up)
        return closed

    @property
    def closes(self) -> bool:
        return True

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (OutgoingKernel(build.step, build.handler, self), Standing(ProduceStage, partial(self._stage, build)))

    def _stage(self, build: Build, downstream: Strategy) -> Strategy:
        step = build.step
        producer = step.run.producer(self.client, dict(self.settings))
        if isinstance(self.topic, str):
            producer.expect(self.topic)
        return ProduceStage(step, build.handler, producer, downstream, clock=step.clock)


class OutgoingKernel(Kernel):
    """Makes the record to produce for each value: pairs of the value and the record."""

    def __init__(self, step: StepContext, handler: Handler, node: ProduceTo[Any]) -> None:
        super().__init__(step, handler)
        self._node = node
        self._encode = _itself if node.encode is None else encoder_of(node.encode, "encode")
        self._inherits = INHERIT in (node.key, node.headers, node.timestamp)

    def inputs(self, chunk: Chunk[Any]) -> list[Any]:
        if not self._inherits:
            return [(value, None) for value in chunk.values]
        return [(value, _single(chunk.origins.members(index))) for index, value in enumerate(chunk.values)]

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        node, encode = self._node, self._encode
        for value, member in inputs:
            record = None if member is None else member[0].record(member[1])
            to_send = Outgoing(
                topic=topic_name(part_of(node.topic, value, "topic")),
                partition=partition_index(part_of(node.partition, value, "partition")),
                key=as_bytes(_own(node.key, value, record, "key"), "key"),
                value=None if value is None else as_bytes(part_of(encode, value, "encode"), "value"),
                headers=as_headers(_own(node.headers, value, record, "headers")),
                timestamp=as_timestamp(_own(node.timestamp, value, record, "timestamp")),
            )
            done((value, to_send))

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        return Chunk(results, chunk.mark, chunk.origins)

    def emitted(self, out: Chunk[Any]) -> int:  # noqa: ARG002  # counted once they are acknowledged
        return 0


def _single(members: list[tuple[Any, int, int]]) -> tuple[Any, int, int] | None:
    return members[0] if len(members) == 1 else None


def _own(given: Any, value: Any, record: Any, name: str) -> Any:
    """What the user gave for this value: a constant, the result of a function, or what the record has."""
    if given is INHERIT:
        return None if record is None else getattr(record, name)
    return part_of(given, value, name)


def _itself(value: Any) -> Any:
    return value
