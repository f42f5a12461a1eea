"""What is done about invalid records: sent to where the policy says, counted, and their offsets held back meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any

from msgspec import Struct, field

from flowdsl.clock import Clock, Deadline
from flowdsl.errors import DlqLimitExceeded, FlowError, InvalidMessage
from flowdsl.interface.offsets import raise_to
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.processing.dlq import DlqLimit, DlqPolicy
from flowdsl.processing.feeder import broker_value
from flowdsl.records import Records
from flowdsl.types import BrokerValue, Commit, KafkaPayload, Partition

SETTLE_PAUSE = 0.005


class _Lane(Struct):
    """What is known of one partition."""

    read: int = 0
    invalid: int = 0
    consecutive: int = 0
    last_invalid: int = -2
    originals: deque[tuple[int, BrokerValue[KafkaPayload]]] = field(
        default_factory=deque[tuple[int, BrokerValue[KafkaPayload]]]
    )
    unsafe: dict[int, Future[Any]] = field(default_factory=dict[int, "Future[Any]"])
    refused: int | None = None
    """The lowest invalid record that could not be sent: nothing from there on may be committed."""
    wanted: int | None = None
    """Up to where pipelines said that all is done, invalid records apart, and had nothing to add."""


class InvalidRecords:
    """Applies a ``DlqPolicy``. An offset is committed only when the invalid records below it are safe.

    A step hands on the offset of an invalid record before the loop hears that it is invalid, and of several the loop hears
    one by one. So what pipelines report is only noted. It is believed once they were polled, or joined, and told of no
    invalid record any more.
    """

    def __init__(self, policy: DlqPolicy, clock: Clock) -> None:
        self._policy, self._clock = policy, clock
        self._poll: Callable[[], object] = getattr(policy.producer, "poll", _nothing)
        self._lanes: dict[Partition, _Lane] = {}
        self._reported: dict[Partition, int] = {}
        """What is not believed yet."""

    def read(self, records: Records) -> None:
        """These were read; keep the originals until their offsets are done."""
        most = self._policy.max_buffered_messages_per_partition
        for index in range(len(records)):
            value = broker_value(records, index)
            lane = self._lanes.setdefault(value.partition, _Lane())
            lane.originals.append((lane.read, value))
            lane.read += 1
            if most is not None and len(lane.originals) > most:
                lane.originals.popleft()

    def handle(self, invalid: InvalidMessage) -> None:
        """Produce the original. Raises DlqLimitExceeded, or FlowError if the original is not kept any more."""
        lane = self._lanes.setdefault(invalid.partition, _Lane())
        before = lane.refused
        lane.refused = invalid.offset if before is None else min(invalid.offset, before)
        found = next(((at, value) for at, value in lane.originals if value.offset == invalid.offset), None)
        if found is None:
            text = f"{invalid}: its original is not kept any more; raise max_buffered_messages_per_partition"
            raise FlowError(text) from invalid
        self._count(lane, found[0], invalid)
        lane.unsafe[invalid.offset] = self._policy.producer.produce(found[1], invalid.reason)
        lane.refused = before

    def done(self, offsets: Mapping[Partition, int]) -> None:
        """Pipelines report that all below these offsets is done, invalid records apart."""
        raise_to(self._reported, offsets)

    def poll(self, pipeline: ProcessingStrategy[Any]) -> None:
        """Poll, and believe what was reported before, unless that tells of an invalid record."""
        before, self._reported = self._reported, {}
        try:
            pipeline.poll()
        except BaseException:
            raise_to(self._reported, before)
            raise
        self._believe(before)

    def believe(self) -> None:
        """A pipeline came to its end, and has nothing to add to what it reported."""
        self._believe(self._reported)
        self._reported.clear()

    def _believe(self, reported: Mapping[Partition, int]) -> None:
        for partition, offset in reported.items():
            lane = self._lanes.setdefault(partition, _Lane())
            lane.wanted = offset if lane.wanted is None else max(offset, lane.wanted)

    def safe(self) -> dict[Partition, int]:
        """How far may be committed."""
        self._poll()
        return {p: _safe(lane, lane.wanted) for p, lane in self._lanes.items() if lane.wanted is not None}

    def failure(self) -> BaseException | None:
        """Why an invalid record did not reach its topic, if one did not."""
        futures = (future for lane in self._lanes.values() for future in lane.unsafe.values() if future.done())
        return next(filter(None, (future.exception() for future in futures)), None)

    def settle(self, deadline: Deadline, commit: Commit) -> BaseException | None:
        """Wait until all that was produced is safe, or the time is up; commit what is. Returns what went wrong."""
        while self._is_waiting() and not deadline.expired:
            deadline.pause(SETTLE_PAUSE)
        commit(self.safe())
        self._reported.clear()  # the pipeline is gone, and will say nothing more
        return self.failure()

    def released(self, partitions: Collection[Partition]) -> None:
        self._reported.clear()  # as above
        for partition in partitions:
            self._lanes.pop(partition, None)

    def close(self) -> None:
        getattr(self._policy.producer, "close", _nothing)()

    def _is_waiting(self) -> bool:
        self._poll()
        return any(not future.done() for lane in self._lanes.values() for future in lane.unsafe.values())

    def _count(self, lane: _Lane, at: int, invalid: InvalidMessage) -> None:
        limit = self._policy.limit or DlqLimit()
        lane.invalid += 1
        lane.consecutive = lane.consecutive + 1 if at == lane.last_invalid + 1 else 1
        lane.last_invalid = at
        most, ratio = limit.max_consecutive_count, limit.max_invalid_ratio
        if most is not None and lane.consecutive > most:
            text = f"{lane.consecutive} invalid record{'' if lane.consecutive == 1 else 's'} in a row on {invalid.partition}, {most} are allowed; last: {invalid}"
            raise DlqLimitExceeded(text) from invalid
        if ratio is not None and lane.invalid > max(1.0, ratio * (at + 1)):
            text = f"{lane.invalid} of {at + 1} records of {invalid.partition} are invalid, the share may be {ratio}; last: {invalid}"
            raise DlqLimitExceeded(text) from invalid


def _nothing() -> None:
    """What a producer of somebody's own need not have."""


def _safe(lane: _Lane, wanted: int) -> int:
    for offset in [offset for offset, future in lane.unsafe.items() if future.done() and future.exception() is None]:
        del lane.unsafe[offset]
    safe = min(wanted, *lane.unsafe) if lane.unsafe else wanted
    if lane.refused is not None:
        safe = min(safe, lane.refused)
    while lane.originals and lane.originals[0][1].offset < safe:
        lane.originals.popleft()
    return safe
