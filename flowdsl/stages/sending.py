"""One chunk on its way to a broker: what was taken and reported of it, and which of its records are to be sent again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowdsl.brokers.protocols import Delivery, Outgoing, Producer
from flowdsl.chunks import Chunk
from flowdsl.origins import Part
from flowdsl.stages.failures import Failure, Handler
from flowdsl.stages.site import Site
from flowdsl.types import Partition


class Sendable(Chunk[Any]):
    """Values, and the record to produce for each."""

    __slots__ = ("outgoing",)

    def __init__(self, chunk: Chunk[Any], outgoing: Sequence[Outgoing]) -> None:
        super().__init__(chunk.values, chunk.mark, chunk.origins)
        self.outgoing = outgoing


class Sending:
    """``lost``: refused for the last time, and not dealt with yet. ``again``: when others are to be sent again."""

    __slots__ = ("_attempts", "_outgoing", "_taken", "again", "chunk", "delivery", "lost")

    def __init__(self, chunk: Chunk[Any]) -> None:
        self.chunk: Chunk[Any] = chunk
        self._outgoing: Sequence[Outgoing] = chunk.outgoing if isinstance(chunk, Sendable) else ()
        self._taken = 0
        self._attempts: dict[int, int] = {}
        self.delivery = Delivery()
        self.again: dict[int, float] = {}
        self.lost: dict[int, Failure] = {}

    @property
    def is_sent(self) -> bool:
        return self._taken == len(self._outgoing)

    @property
    def is_answered(self) -> bool:
        return self.is_sent and not self.delivery.waiting

    @property
    def first_undone(self) -> int:
        """The index of the first record that was refused; only once all are answered."""
        return min((*self.again, *self.lost))

    def send(self, producer: Producer) -> None:
        """Send what was not taken yet, as far as there is room."""
        rest = self._outgoing[self._taken :] if self._taken else self._outgoing
        self._taken += producer.send(rest, self.delivery, self._taken)

    def send_again(self, producer: Producer, now: float) -> None:
        """Send the refused ones whose time has come, as far as there is room."""
        for index in sorted(index for index, moment in self.again.items() if moment <= now):
            if not producer.send(self._outgoing[index : index + 1], self.delivery, index):
                return
            del self.again[index]

    def ask(self, handler: Handler, site: Site) -> None:
        """Find out which of those that were refused since are worth another attempt."""
        failed = self.delivery.failed
        if failed:
            self.delivery.failed = {}
        for index in sorted(failed):
            attempts = self._attempts[index] = self._attempts.get(index, 0) + 1
            members = self.chunk.origins.members(index)
            failure = Failure(site, failed[index], self.chunk.values[index], members, attempts)
            moment = handler.again(failure)
            if moment is None:
                self.lost[index] = failure
            else:
                self.again[index] = moment
        if failed:
            self._keep_order()

    def _keep_order(self) -> None:
        """No refused one is sent again before those of its partition that were refused before it."""
        latest: dict[Partition, float] = {}
        for index in sorted(self.again):
            places = {window.place(at)[0] for window, at, _ in self.chunk.origins.members(index)}
            moment = max(self.again[index], *(latest.get(place, 0.0) for place in places))
            self.again[index] = moment
            latest.update(dict.fromkeys(places, moment))

    def drop(self, index: int) -> None:
        """A lost one was dealt with. Only once none is sent again: those behind it move up."""
        chunk = self.chunk
        kept = [*range(index), *range(index + 1, len(chunk))]
        self.chunk = Chunk([chunk.values[at] for at in kept], chunk.mark, Part(chunk.origins, kept))
        self.lost = {at - (at > index): failure for at, failure in self.lost.items() if at != index}
