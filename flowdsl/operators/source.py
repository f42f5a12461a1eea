"""Where the records of a flow come from, as values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import compress
from re import Pattern
from typing import Any, Literal

from attrs import field, frozen

from flowdsl.brokers.protocols import Client, Last, OnGap, Topics
from flowdsl.chunks import Chunk
from flowdsl.operators.checks import Items
from flowdsl.operators.codecs import Decoder, decoder_of
from flowdsl.origins import kept
from flowdsl.plan.nodes import Plan, Source
from flowdsl.stages.branches import Divide
from flowdsl.stages.calls import Call, Role
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import Done, Kernel, refuse_awaitables
from flowdsl.stages.parts import Build, Part
from flowdsl.types import Partition

FLAGS = {"a": re.ASCII, "i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
Tombstones = Literal["fail", "skip", "keep"]


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class BrokerSource(Source):
    """Topics of a broker; ``topics`` is a tuple of names or a compiled pattern, ``settings`` are items."""

    word = "source"
    hidden = ("client",)
    client: Client
    topics: Topics
    group_id: str | None = None
    decode: Decoder[Any] | Callable[[bytes], Any] | None = None
    start: Literal["earliest", "latest"] | datetime | Last = "earliest"
    tombstones: Tombstones = "fail"
    on_gap: OnGap = "fail"
    settings: Items = field(default=Items())

    @property
    def drops(self) -> bool:
        return self.tombstones == "skip"

    def named_after(self) -> object:
        codec = self.decode
        return None if codec is None or hasattr(codec, "decode") else codec

    def lower(self, build: Build) -> tuple[Part, ...]:
        if self.decode is None and self.tombstones == "keep":
            return ()
        if self.tombstones != "fail":
            return (SourceKernel(build.step, build.handler, self),)
        if self.decode is None:
            return (Call(build.step, build.handler, Role.PRESENT, None),)
        return (Call(build.step, build.handler, Role.DECODE, decoder_of(self.decode, "decode")),)

    def reads(self, topic: str) -> bool:
        """Whether records of that topic are for this source."""
        return bool(self.topics.fullmatch(topic)) if isinstance(self.topics, Pattern) else topic in self.topics


class SourceKernel(Kernel):
    """The first step of a broker's flow that expects null values: they are skipped or kept, the others decoded."""

    def __init__(self, step: StepContext, handler: Handler, node: BrokerSource) -> None:
        super().__init__(step, handler)
        self._decode = None if node.decode is None else decoder_of(node.decode, "decode")
        self._skips = node.tombstones == "skip"

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        decode = self._decode
        for value in inputs:
            done(value if value is None or decode is None else decode(value))

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        if self._decode is not None:
            refuse_awaitables(results)
        if not self._skips or None not in chunk.values:
            return Chunk(results, chunk.mark, chunk.origins)
        mask = [value is not None for value in chunk.values]
        values = list(compress(results, mask))
        return Chunk(values, chunk.mark, kept(chunk.origins, mask, len(values)))


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class MergedSource(Source):
    """Several flows that go on as one; each is an open plan with a source and steps of its own."""

    word = "merge"
    hidden = ("plans",)
    plans: tuple[Plan, ...]

    @property
    def merged(self) -> tuple[Plan, ...]:
        return self.plans

    def divide(self, first: int) -> Divide:
        """How records find the flows that read them: by topic, and values in memory by the number of their source.

        ``first``: the number of the first of these sources in the whole flow.
        """
        sources = [leaves(plan.source) for plan in self.plans]
        numbers = [at for at, inner in enumerate(sources) for _ in inner]

        def targets(partition: Partition) -> list[int]:
            if partition.topic.name == "":
                return [numbers[partition.index - first]]
            return [at for at, inner in enumerate(sources) if any(_reads(leaf, partition.topic.name) for leaf in inner)]

        known: dict[Partition, list[int]] = {}

        def divided(chunk: Chunk[Any]) -> list[Chunk[Any]]:
            wanted: list[list[bool]] = [[] for _ in sources]
            for index in range(len(chunk)):
                window, position, _ = chunk.origins.members(index)[0]
                partition = window.place(position)[0]
                if partition not in known:
                    known[partition] = targets(partition)
                for at, mask in enumerate(wanted):
                    mask.append(at in known[partition])
            parts: list[Chunk[Any]] = []
            for mask in wanted:
                values = list(compress(chunk.values, mask))
                parts.append(Chunk(values, chunk.mark, kept(chunk.origins, mask, len(values))))
            return parts

        return divided


def leaves(source: Source) -> list[Source]:
    """The sources inside a source that read something themselves, in the order in which they were written."""
    return [leaf for plan in source.merged for leaf in leaves(plan.source)] if source.merged else [source]


def all_topics(sources: Sequence[BrokerSource]) -> Topics:
    """What one consumer subscribes to for all of these. Raises re.error for patterns that cannot stand in one."""
    patterns = [each.topics for each in sources if isinstance(each.topics, Pattern)]
    names = dict.fromkeys(name for each in sources if not isinstance(each.topics, Pattern) for name in each.topics)
    if not patterns:
        return tuple(names)
    if len(sources) == 1:
        return patterns[0]
    return re.compile("|".join([*map(_alternative, patterns), *map(re.escape, names)]))


_BY_NUMBER = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[1-9]|\(\?\([0-9])")
"""A reference to a group by its number."""


def _alternative(pattern: Pattern[str]) -> str:
    """The pattern as a part of another one, with its flags for itself."""
    flags = "".join(letter for letter, flag in FLAGS.items() if pattern.flags & flag)
    text = re.sub(r"\A\(\?[a-zA-Z]+\)", "", pattern.pattern)  # they may stand at the beginning of a whole only
    if _BY_NUMBER.search(text):
        msg = "groups have other numbers in the whole: name those that are referred to, as in (?P<name>a|b)(?P=name)"
        raise re.error(msg, pattern.pattern)
    return f"(?{flags}:{text}\n)" if pattern.flags & re.VERBOSE else f"(?{flags}:{text})"  # it may end in a comment


def _reads(source: Source, topic: str) -> bool:
    return isinstance(source, BrokerSource) and source.reads(topic)
