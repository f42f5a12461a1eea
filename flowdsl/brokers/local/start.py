"""Where reading begins in a partition, and where it goes on when records are gone."""

from __future__ import annotations

import logging
from datetime import datetime

from flowdsl.brokers.local.log import Log
from flowdsl.brokers.protocols import Last, OnGap, Start
from flowdsl.errors import OffsetOutOfRange
from flowdsl.types import Partition

logger = logging.getLogger("flowdsl")


def start_of(log: Log, start: Start) -> int:
    """The offset that ``start`` means in this log, now."""
    if isinstance(start, Last):
        return log.before_end(start.n)
    if isinstance(start, datetime):
        return log.at(start)
    return log.beginning if start == "earliest" else log.end


def go_on(partition: Partition, log: Log, position: int, on_gap: OnGap) -> int:
    """The position at which to go on reading. Raises OffsetOutOfRange where records are gone and that matters."""
    if log.beginning <= position <= log.end:
        return position
    if position > log.end:
        what = f"{partition} ends at offset {log.end} and was to be read from {position}"
    else:
        what = f"{log.beginning - position} records of {partition} are gone: offsets {position} to {log.beginning - 1}"
    if on_gap == "fail":
        msg = f'{what}. To go on with what is there from offset {log.beginning}, say on_gap="earliest".'
        raise OffsetOutOfRange(msg)
    logger.warning("%s; going on from offset %d", what, log.beginning)
    return log.beginning
