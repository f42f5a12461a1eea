"""Follows the assignment: what is drained, given up, or read again when partitions come and go.

These are callbacks of the consumer, from within its ``read``. They never raise: a client that gets an exception out of
a callback throws away what it had read. What went wrong is stored, and the loop raises it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from flowdsl.brokers.protocols import Consumer
from flowdsl.clock import Clock, Deadline
from flowdsl.errors import BrokerError, CommitFailed
from flowdsl.processing.bounds import Bounds
from flowdsl.processing.feeder import Feeder
from flowdsl.processing.gate import Gate
from flowdsl.processing.invalid import InvalidRecords
from flowdsl.processing.pipelines import Pipelines
from flowdsl.types import Partition

SHARE = 3
"""A rebalance may take at most this part of the broker's patience: one that takes longer costs the whole assignment."""

logger = logging.getLogger("flowdsl")


class Membership:
    """The listener of one consumer."""

    def __init__(
        self,
        consumer: Consumer,
        *,
        clock: Clock,
        gate: Gate,
        feeder: Feeder,
        pipelines: Pipelines,
        bounds: Bounds,
        invalid: InvalidRecords | None,
        drain_to_add: bool,
        join_timeout: float,
    ) -> None:
        self._consumer, self._clock = consumer, clock
        self._gate, self._feeder, self._pipelines, self._bounds, self._invalid = (
            gate,
            feeder,
            pipelines,
            bounds,
            invalid,
        )
        self._drain_to_add = drain_to_add
        self._seconds = min(consumer.poll_interval / SHARE, join_timeout)
        self.partitions: set[Partition] = set()
        self.error: BaseException | None = None
        self.was_assigned = False
        self._rewinds = False

    # -- told by the consumer -------------------------------------------------------------------------------------

    def assigned(self, partitions: Mapping[Partition, int]) -> None:
        logger.info("assigned: %s", _named(partitions))
        if partitions and self._drain_to_add and self._pipelines.current is not None:
            self._drain()
        self._gate.assign(partitions)
        self._feeder.assigned(partitions)
        self._bounds.assigned(partitions)
        self.partitions.update(partitions)
        self.was_assigned = True

    def revoked(self, partitions: Collection[Partition]) -> None:
        logger.info("revoked: %s", _named(partitions))
        self._drain()
        try:
            self._gate.end(Deadline.after(self._clock, self._seconds))
        except CommitFailed as failed:
            logger.warning("%s", failed)
        except BrokerError as other:
            self.error = self.error or other
        self._release(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        self._pipelines.drop()
        self._gate.forget(partitions)
        self._gate.drop_ledger()
        logger.warning("lost: %s; what was under way is abandoned, and nothing of it is committed", _named(partitions))
        self._rewinds = True
        self._release(partitions)

    # -- told by the loop -----------------------------------------------------------------------------------------

    def raise_stored(self) -> None:
        """After a read: what went wrong in a callback."""
        stored, self.error = self.error, None
        if stored is not None:
            raise stored

    def settle(self) -> bool:
        """After a read: go back to what is not done, have a pipeline. False: what was read must not be used."""
        rewinds, self._rewinds = self._rewinds, False
        if not self.partitions or not (rewinds or self._pipelines.current is None):
            return not rewinds  # the quiet case: nobody asks what is done, which costs something for each record
        offsets = {partition: self._gate.reached(partition) for partition in self.partitions}
        if rewinds:
            # Partitions that stay are not rewound by the broker: what the join left unfinished is asked for again.
            self._consumer.seek(offsets)
            self._bounds.moved(offsets)
        if self._pipelines.current is None:
            self._pipelines.open(offsets)
        return not rewinds

    def _drain(self) -> None:
        deadline = Deadline.after(self._clock, self._seconds)
        error = self._pipelines.drain(deadline)
        self.error = self.error or error
        if self._invalid is not None:
            unsafe = self._invalid.settle(deadline, self._gate)
            self.error = self.error or unsafe
        self._gate.drop_ledger()
        self._feeder.drop()
        self._rewinds = True

    def _release(self, partitions: Collection[Partition]) -> None:
        self._gate.release(partitions)
        self._feeder.drop()
        self._feeder.released(partitions)
        self._bounds.released(partitions)
        if self._invalid is not None:
            self._invalid.released(partitions)
        self.partitions.difference_update(partitions)


def _named(partitions: Collection[Partition]) -> str:
    return ", ".join(map(str, sorted(partitions))) or "no partitions"
