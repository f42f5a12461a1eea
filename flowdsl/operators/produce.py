"""A broker's topic at the end of a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from attrs import field, frozen

from flowdsl.brokers.columns import Columns
from flowdsl.brokers.outgoing import as_bytes, as_headers, as_timestamp, as_value, part_of, partition_index, topic_name
from flowdsl.brokers.protocols import Client, Outgoing
from flowdsl.chunks import Chunk
from flowdsl.errors import refuse_awaitable
from flowdsl.operators.checks import Items
from flowdsl.operators.codecs import Encoder, encoder_of
from flowdsl.operators.constants import INHERIT, Inherit
from flowdsl.plan.hints import F_co, T
from flowdsl.plan.shapes import Chaining, put
from flowdsl.records import RecordPart
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import Done, Kernel, Unusable
from flowdsl.stages.parts import Build, Part, Standing, Strategy
from flowdsl.stages.producing import ProduceStage
from flowdsl.stages.sending import Sendable

if TYPE_CHECKING:
    from flowdsl.flow.flow import ClosedFlow, Flow
    from flowdsl.flow.stats import Stats

Text = bytes | str | None
Headers = Iterable[tuple[str, bytes | None]] | None


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ProduceTo(Chaining, Generic[F_co]):
    """Produce each value; its offset moves once the broker acknowledged it.

    Topic, key, headers, timestamp and partition are values or functions of the payload, before ``encode``.
    ``settings`` are items.
    """

    word = "sink"
    hidden = ("client",)
    client: Client
    topic: str | Callable[[Any], str]
    key: Inherit | Callable[[Any], Text] | Text = INHERIT
    headers: Headers | Inherit | Callable[[Any], Headers] = INHERIT
    timestamp: datetime | Inherit | Callable[[Any], datetime | None] | None = INHERIT
    partition: int | Callable[[Any], int] | None = None
    encode: Encoder[Any] | Callable[[Any], bytes | str] | None = None
    settings: Items = field(default=Items())

    def __call__(self: ProduceTo[Callable[[T], bytes | str]], up: Flow[T | None], /) -> ClosedFlow[Stats]:
        closed: ClosedFlow[Stats] = put(self, up)
        return closed

    @property
    def closes(self) -> bool:
        return True

    @property
    def looks_at_records(self) -> bool:
        return INHERIT in (self.key, self.headers, self.timestamp)

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (OutgoingKernel(build.step, build.handler, self), Standing(ProduceStage, partial(self._stage, build)))

    def _stage(self, build: Build, downstream: Strategy) -> Strategy:
        step = build.step
        producer = step.run.producer(self.client, dict(self.settings))
        topic = self.topic if isinstance(self.topic, str) else None
        producer.expect(topic, self.partition if isinstance(self.partition, int) else None)
        return ProduceStage(step, build.handler, producer, downstream, topic=topic, clock=step.clock)


class OutgoingKernel(Kernel):
    """Makes the record to produce for each value.

    Where only ``encode`` is a function of the value, the other parts are put together for all values of a chunk at once.
    """

    def __init__(self, step: StepContext, handler: Handler, node: ProduceTo[Any]) -> None:
        super().__init__(step, handler)
        self._node = node
        self._encode = _itself if node.encode is None else encoder_of(node.encode, "encode")
        parts = (node.topic, node.partition, node.key, node.headers, node.timestamp)
        self._by_columns = not any(callable(part) for part in parts)

    def inputs(self, chunk: Chunk[Any]) -> list[Any]:
        if self._by_columns:
            return chunk.values
        return list(zip(chunk.values, *(self._column(chunk, part) for part in PARTS), strict=True))

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        encode = self._encode
        if self._by_columns:
            for value in inputs:
                done(None if value is None else encode(value))
            return
        node = self._node
        stamped = _itself if node.timestamp is INHERIT else as_timestamp  # inherited ones may be milliseconds
        for value, key, headers, timestamp in inputs:
            done(
                Outgoing(
                    topic=topic_name(part_of(node.topic, value, "topic")),
                    partition=partition_index(part_of(node.partition, value, "partition")),
                    key=as_bytes(part_of(key, value, "key"), "key"),
                    value=None if value is None else as_value(part_of(encode, value, "encode")),
                    headers=as_headers(part_of(headers, value, "headers")),
                    timestamp=stamped(part_of(timestamp, value, "timestamp")),
                )
            )

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        return Sendable(chunk, self._put_together(chunk, results) if self._by_columns else results)

    def emitted(self, out: Chunk[Any]) -> int:  # noqa: ARG002  # counted once they are acknowledged
        return 0

    def _put_together(self, chunk: Chunk[Any], encoded: list[Any]) -> Columns:
        if not _PLAIN.issuperset(map(type, encoded)):
            pairs = enumerate(zip(chunk.values, encoded, strict=True))
            encoded = [_checked(index, value, made) for index, (value, made) in pairs]
        node = self._node
        return Columns(
            topic_name(node.topic),
            encoded,
            partition=partition_index(node.partition),
            keys=self._column_or_none(chunk, "key"),
            headers=self._column_or_none(chunk, "headers"),
            timestamps=self._column_or_none(chunk, "timestamp"),
        )

    def _column_or_none(self, chunk: Chunk[Any], part: RecordPart) -> Sequence[Any] | None:
        """None where that part is none in all."""
        if not getattr(self._node, part):
            return None
        column = self._column(chunk, part)
        return None if column.count(None) == len(column) else column

    def _column(self, chunk: Chunk[Any], part: RecordPart) -> Sequence[Any]:
        """What the user gave for that part, or what the records have, for each value."""
        given = getattr(self._node, part)
        if given is INHERIT:
            return chunk.origins.column(part)
        return [_CHECKS[part](given) if self._by_columns else given] * len(chunk)


PARTS: tuple[RecordPart, ...] = ("key", "headers", "timestamp")
_CHECKS: dict[RecordPart, Callable[[Any], Any]] = {
    "key": partial(as_bytes, name="key"),
    "headers": as_headers,
    "timestamp": as_timestamp,
}
_PLAIN = frozenset({bytes})


def _checked(index: int, value: Any, encoded: Any) -> bytes | None:
    try:
        if hasattr(encoded, "__await__"):
            refuse_awaitable(encoded, "the function for encode")
        return None if value is None else as_value(encoded)
    except (TypeError, ValueError) as error:
        raise Unusable(index, error) from error


def _itself(value: Any) -> Any:
    return value
