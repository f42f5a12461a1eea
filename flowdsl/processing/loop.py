"""The loop: reads, hands on, commits, and ends in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowdsl.brokers.protocols import Consumer, Topics
from flowdsl.clock import Clock, Deadline
from flowdsl.errors import InvalidMessage, StopTimeout, told
from flowdsl.interface.strategy import ProcessingStrategyFactory
from flowdsl.processing.bounds import Bounds
from flowdsl.processing.feeder import Feeder, in_chunks, one_message_each, polled
from flowdsl.processing.gate import Gate
from flowdsl.processing.invalid import InvalidRecords
from flowdsl.processing.membership import Membership
from flowdsl.processing.pipelines import Pipelines
from flowdsl.processing.waiting import Waiting
from flowdsl.reactive.bell import Bell
from flowdsl.records import Records
from flowdsl.stages.guard import first_error
from flowdsl.stages.switch import Switch
from flowdsl.types import CommitPolicy, Partition

LEAVE_SECONDS = 5.0
"""At least so long the last commit of a run is waited for, and at most so long the group to let this member go."""

logger = logging.getLogger("flowdsl")


class Loop:
    """One run of one consumer. Everything happens on the thread that calls ``run``, or ``turn`` by ``turn``."""

    def __init__(
        self,
        consumer: Consumer,
        topics: Topics,
        factory: ProcessingStrategyFactory[Any],
        *,
        clock: Clock,
        switch: Switch,
        policy: CommitPolicy,
        bounds: Bounds | None = None,
        timeout: float | None = None,
        join_timeout: float | None = None,
        stop_timeout: float = 20.0,
        invalid: InvalidRecords | None = None,
        on_ready: Callable[[], None] | None = None,
        bell: Bell | None = None,
    ) -> None:
        self.consumer, self.topics, self.clock, self.switch = consumer, topics, clock, switch
        self.bounds = bounds or Bounds(clock)
        self.compiled = bool(getattr(factory, "takes_chunks", False))
        self.gate = Gate(consumer, policy, clock)
        submit = in_chunks if self.compiled else one_message_each
        self._invalid = None if self.compiled else invalid  # a compiled flow deals with failing records by itself
        self._poll, believe = (polled, None) if self._invalid is None else (self._invalid.poll, self._invalid.believe)
        before_each = None if self.compiled else self._poll
        self.feeder = Feeder(consumer, submit, clock=clock, switch=switch, before_each=before_each)
        commit = self.gate if self.compiled else self._commit
        self.pipelines = Pipelines(factory, commit, switch, self._handle_invalid, believe)
        self._stop_timeout = stop_timeout
        self._timeout = timeout
        self._deadline = Deadline.after(clock, timeout)
        self._finished, self._undone = False, 0
        self._on_ready = on_ready
        self._waiting = Waiting(clock, bell, self._deadline.at)
        self.membership = Membership(
            consumer,
            clock=clock,
            gate=self.gate,
            feeder=self.feeder,
            pipelines=self.pipelines,
            bounds=self.bounds,
            invalid=self._invalid,
            drain_to_add=not self.compiled,
            join_timeout=stop_timeout if join_timeout is None else join_timeout,
        )

    # -- a whole run ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Turn until it is over, then end. Raises what ended it."""
        self._end_behind(self._turned)

    def _turned(self) -> BaseException | None:
        try:
            self.begin()
            while not self.is_over:
                self.turn()
        except BaseException as error:  # noqa: BLE001  # raised behind the draining
            return error
        return None

    def begin(self) -> None:
        """Subscribe. Raises TopicNotFound and the like."""
        self.consumer.subscribe(self.topics, self.membership)
        self.bounds.begin(self.consumer)

    def turn(self) -> None:
        """Read if there is room, hand on, commit what is due. Raises what user code or the broker raised."""
        self._read()
        pipeline = self.pipelines.current
        if pipeline is not None:
            try:
                self._poll(pipeline)
                if not self.feeder.feed(pipeline):
                    self._waiting.after_rejection()
                if self._invalid is not None:
                    self._poll(pipeline)  # what it reported meanwhile can be believed then
            except InvalidMessage as invalid:
                self._handle_invalid(invalid)
        if self._invalid is not None:
            self._raise_invalid(self._invalid)
        self.gate.turn()

    def finish(self) -> None:
        """End the run normally: nothing more is wanted."""
        self._finished = True

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do."""
        return self._finished or self.switch.stopping or self._deadline.expired or self._is_complete

    def end(self, error: BaseException | None = None) -> None:
        """Drain, commit, leave; then raise ``error``, or what went wrong on the way."""
        self._end_behind(lambda: error)

    def _end_behind(self, rest: Callable[[], BaseException | None]) -> None:
        try:
            outcome = self._end(rest())
        except BaseException:  # a second signal, perhaps: the group must not wait for a member that is gone
            first_error(self.pipelines.drop, lambda: self.consumer.close(0.0), *self._shutting_down())
            raise
        if outcome is not None:
            raise outcome

    def _end(self, error: BaseException | None) -> BaseException | None:
        if self.switch.abandoned:
            raise error or KeyboardInterrupt
        complete = self._finished or self._is_complete
        hurried = error is not None or self.switch.stopping
        deadline = Deadline.after(self.clock, self._stop_timeout if hurried else None)
        self.switch.ends_at, self.switch.patience = deadline.at, None if hurried else self._stop_timeout
        self.feeder.drop()
        drained = self._drain(error, deadline)
        left = None if self.switch.abandoned else self._leave(deadline)
        if self.switch.abandoned or not isinstance(left, Exception | None):  # interrupted on the way out
            raise next(filter(None, (error, drained, left)), KeyboardInterrupt())
        logger.info("stopped: %d records were read", self.feeder.taken)
        outcome = error or drained or self.switch.interrupt or left
        if left is not None and left is not outcome:
            logger.warning("what went wrong behind that: %s", told(left))
        is_late = self.bounds.is_bounded and (self._deadline.expired or self.switch.timed_out)
        if outcome is None and is_late and (not complete or (self._undone and not self._finished)):  # or cut short
            return self.bounds.missed(self._timeout, self.feeder.taken - self._undone)
        return outcome

    @property
    def _is_complete(self) -> bool:
        return self.feeder.is_empty and self.bounds.are_reached(self.consumer, self.feeder.taken)

    # -- parts of it ----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self.feeder.is_empty:
            self.feeder.resume()
        elif self.feeder.must_read:
            self.feeder.pause(self.pipelines.held_up_by())
        else:
            return
        self.bounds.look(self.consumer)
        records = self._read_up_to(self.bounds.limit(self.feeder.pace.read, self.feeder.taken))
        self.membership.raise_stored()
        if self._on_ready is not None and self.membership.was_assigned:
            self._on_ready()
            self._on_ready = None
        if self.membership.settle():
            records = self.bounds.within(records)
            if self._invalid is not None:
                self._invalid.read(records)
            if not self.compiled:
                self.gate.reads(records)
            self.feeder.give(records)

    def _read_up_to(self, limit: int) -> Records:
        last_read = self.gate.last_read
        self.gate.last_read = self.clock()  # before the read: the broker's patience does not begin with its return
        try:
            patience = self._waiting.to_read(self.gate.deadline, self.pipelines.next_deadline)
            records = self.consumer.read(limit, patience if self.feeder.is_empty else 0.0)
        except BaseException:
            self.gate.last_read = last_read  # nobody knows whether the group has heard of this member
            raise
        self._waiting.was_full = len(records) == limit > 0
        return records

    def _commit(self, offsets: Mapping[Partition, int], force: bool = False) -> None:
        if self._invalid is not None:
            self._invalid.done(offsets)
        self.gate(offsets if self._invalid is None else {}, force)

    def _raise_invalid(self, invalid: InvalidRecords) -> None:
        """No call of a pipeline is under way: what invalid records do not hold back may be committed."""
        self.gate(invalid.safe())
        failure = invalid.failure()
        if failure is not None:
            raise failure

    def _handle_invalid(self, invalid: InvalidMessage) -> None:
        if self._invalid is None:
            logger.warning("skipped: %s", invalid)
        else:
            self._invalid.handle(invalid)

    def _drain(self, error: BaseException | None, deadline: Deadline) -> BaseException | None:
        """Finish what is under way. After an error hand-written strategies are terminated: they are in any state."""
        if error is not None:
            self.switch.fail()
            if not self.compiled:
                self.pipelines.drop()
        drained = self.pipelines.drain(deadline)
        if drained is None and (deadline.expired or self.switch.is_late) and self.gate.in_flight:
            drained = StopTimeout(
                f"the drain did not finish within {self._stop_timeout} s: {self.gate.in_flight} records are not done; "
                "they are not committed and will be read again"
            )
        if self._invalid is not None:
            unsafe = self._invalid.settle(deadline, self.gate)
            drained = drained or unsafe
        self._undone = self.gate.in_flight
        self.gate.drop_ledger()
        return drained

    def _leave(self, deadline: Deadline) -> BaseException | None:
        """All of it is tried; returns what was raised first."""
        left = deadline.remaining()  # None: a run at its own end, which has as long as one that is stopped
        rest = max(LEAVE_SECONDS, (self._stop_timeout if left is None else left) - LEAVE_SECONDS)
        return first_error(
            lambda: self.gate.end(Deadline.after(self.clock, rest)),
            lambda: self.consumer.close(0.0 if self.switch.abandoned else LEAVE_SECONDS),
            *self._shutting_down(),
        )

    def _shutting_down(self) -> Iterator[Callable[[], None]]:
        yield self.pipelines.shutdown
        if self._invalid is not None:
            yield self._invalid.close
