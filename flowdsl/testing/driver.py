"""``Driver``: a flow in virtual time, driven by hand, with rebalances, crashes and restarts where a test wants them.

It runs the flow that users run: the same compiled pipeline, loop and commits; only the consumer, the producer and the
clock are the test's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from flowdsl.brokers.outgoing import as_bytes, as_headers
from flowdsl.clock import Duration, to_seconds
from flowdsl.errors import shown
from flowdsl.flow.flow import ONCE_A_SECOND, ClosedFlow
from flowdsl.flow.running import checked_policy, policy_of_run
from flowdsl.plan.names import named_together
from flowdsl.plan.policy import OnError
from flowdsl.testing.addresses import Addresses
from flowdsl.testing.feed import Feed
from flowdsl.testing.given import closed
from flowdsl.testing.life import Life
from flowdsl.testing.virtual import VirtualClock
from flowdsl.testing.watching import Watch
from flowdsl.types import CommitPolicy, Partition, Record

QUIET_TURNS = 10
"""A loop is idle when nothing moved for so many turns: a value may need one for each stage that it passes."""


class Driver:
    """Drives one flow. Nothing sleeps, no thread starts, and time moves in ``advance`` alone.

    ``send`` puts a record where the flow reads; ``run_until_idle``, ``advance`` and ``close`` process it. What the flow
    raises comes out of the call that made it happen, once; the flow is over then, until ``restart``. A flow
    over ``from_iterable`` gets what is sent, and not its own values. What goes to a broker's sink is acknowledged and
    noted, not produced; functions and objects at the end of a flow are called.

    ``clock``: one to share with hand-written strategies. ``commit``, ``on_error``: as in ``run``.

    >>> from flowdsl import batch, from_iterable, sink
    >>> driver = Driver(from_iterable([]) | batch(2, within=5.0) | sink(print))
    >>> driver.send("a")
    >>> driver.advance(5.0)
    ['a']
    >>> driver.outputs
    [['a']]
    """

    def __init__(
        self,
        flow: ClosedFlow[Any],
        *,
        clock: VirtualClock | None = None,
        commit: CommitPolicy = ONCE_A_SECOND,
        on_error: OnError = "stop",
    ) -> None:
        if clock is not None and not isinstance(clock, VirtualClock):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
            msg = f"clock must be a VirtualClock, not {shown(clock)}"
            raise TypeError(msg)
        self.clock = VirtualClock() if clock is None else clock
        self._plan, self._commit = closed(flow).plan, checked_policy(commit)
        self._on_error = policy_of_run(flow, on_error)
        letters = self._on_error.letters
        plan_of_letters = None if letters is None else letters.plan
        self._feed, self._watch = Feed(), Watch(*named_together(self._plan, plan_of_letters))
        self._addresses = Addresses(self._plan.source)
        self._chosen: set[Partition] | None = None
        self._revoked: set[Partition] = set()
        self._life: Life | None = self._born()

    # -- what can be asked ----------------------------------------------------------------------------------------

    @property
    def outputs(self) -> Any:
        """The values that reached the sink, in order, over all crashes; with several sinks a dict by step name."""
        return self._watch.outputs

    @property
    def committed(self) -> dict[Partition, int]:
        """The next offset to read of each partition, as far as one was committed."""
        return dict(self._feed.committed)

    @property
    def in_flight(self) -> int:
        """How many records the flow took and has not done."""
        return 0 if self._life is None else self._life.in_flight

    @property
    def dead_letters(self) -> list[Record[Any]]:
        """The original records that reached a dead letter sink, with the headers that tell what happened."""
        return list(self._watch.dead_letters)

    # -- records and time -----------------------------------------------------------------------------------------

    def send(
        self,
        value: Any,
        *,
        key: bytes | str | None = None,
        partition: int | Partition = 0,
        headers: Sequence[tuple[str, bytes | str | None]] = (),
        at: float | datetime | None = None,
        topic: str | None = None,
    ) -> None:
        """Append one record to a partition; what processes it is the next ``run_until_idle`` or ``advance``.

        ``value``: a raw value, that is bytes, a text or None for a broker's source, anything for ``from_iterable``.
        ``at``: the record's timestamp, as seconds on the virtual clock or an aware datetime; now if not given.
        ``topic``: needed where the flow reads several.
        """
        place = self._addresses.partition(partition, topic)
        record = Record(
            place.topic.name,
            place.index,
            self._feed.end(place),
            as_bytes(key, "key"),
            self._addresses.raw(value),
            as_headers(headers),
            self._timestamp(at),
        )
        self._feed.append(place, record)

    def run_until_idle(self) -> None:
        """Process what can be processed now, without time passing."""
        life = self._life
        quiet, before = 0, None
        while life is not None and self._life is life and quiet < QUIET_TURNS:
            self._turn(life)
            now = life.progress()
            quiet, before = (quiet + 1 if now == before else 0), now

    def advance(self, seconds: Duration) -> None:
        """Let time pass, and stop at every moment at which something is to happen: groups leave, commits are sent."""
        until = self.clock() + to_seconds(seconds, "seconds")
        self.run_until_idle()
        while self._life is not None:
            moment = self._life.next_moment()
            if moment is None or moment >= until:
                break
            self.clock.advance(moment - self.clock())
            self.run_until_idle()
        self.clock.advance(max(0.0, until - self.clock()))
        self.run_until_idle()

    # -- what may go wrong ----------------------------------------------------------------------------------------

    def reject_next(self, step: str) -> None:
        """Make the stage that holds this step reject what it is offered next, once. ``explain`` shows the names."""
        self._watch.reject_next(step)

    def assign(self, *partitions: int | Partition) -> None:
        """Give these to the flow, in addition to what it has. From now on partitions come by ``assign`` alone."""
        chosen = {self._addresses.partition(each) for each in partitions}
        self._chosen = self._wanted() | chosen
        self._revoked -= chosen
        if self._life is not None:
            self._life.assign(self._chosen)

    def revoke(self, *partitions: int | Partition) -> None:
        """Take these away: what is under way is drained, what is done is committed, before this returns."""
        gone = {self._addresses.partition(each) for each in partitions}
        life = self._life
        if life is not None:
            life.assign(self._wanted())
        self._revoked |= gone
        if self._chosen is not None:
            self._chosen -= gone
        if life is not None:
            try:
                life.revoke(gone)
            except BaseException as error:  # noqa: BLE001  # raised again by ``end``
                self._end(life, error)

    def crash(self) -> None:
        """Everything in memory is gone; committed offsets stay. Sinks are neither flushed nor closed."""
        life, self._life = self._life, None
        if life is not None:
            life.crash()

    def restart(self) -> None:
        """Begin anew, at the committed offsets; what still runs crashes first."""
        self.crash()
        self._life = self._born()

    def close(self) -> None:
        """Process what was sent, drain, commit, and end. Raises what the flow raises."""
        self.run_until_idle()
        if self._life is not None:
            self._end(self._life)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.crash()

    # -- how it is done -------------------------------------------------------------------------------------------

    def _born(self) -> Life:
        return Life(self._plan, self._feed, self._watch, self.clock, self._commit, self._on_error)

    def _turn(self, life: Life) -> None:
        try:
            life.assign(self._wanted())
            life.turn()
        except BaseException as error:  # noqa: BLE001  # raised again by ``end``, behind the draining
            self._end(life, error)
        else:
            if life.is_over:
                self._end(life)

    def _end(self, life: Life, error: BaseException | None = None) -> None:
        self._life = None
        life.end(error)

    def _wanted(self) -> set[Partition]:
        return set(self._feed.partitions) - self._revoked if self._chosen is None else self._chosen

    def _timestamp(self, at: float | datetime | None) -> datetime | None:
        if at is None:
            return None if self._addresses.in_memory else self.clock.utc()
        if not isinstance(at, datetime):
            at = self.clock.utc() + timedelta(seconds=to_seconds(at, "at") - self.clock())
        if at.tzinfo is None:
            msg = f"at must be aware, such as datetime.now(UTC), but {at!r} has no time zone"
            raise ValueError(msg)
        return at.astimezone(UTC)
