"""One member of a group, as users write it: ``member.py ADDRESS TOPIC GROUP PROTOCOL STEP FILE``.

Its sink is a file that is synced before ``write`` returns. A line is partition, offset, value, and when it was written.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from flowdsl import Kafka, batch, filter_, sink, unbatch, with_record
from flowdsl.operators.with_record import WithRecord
from tests.kafka.chaos.members import STOP_TIMEOUT
from tests.kafka.chaos.steps import STEPS
from tests.kafka.protocols import settings_of


def wanted(value: bytes) -> bool:
    """One in ten is left out, so that offsets of filtered records are at stake too."""
    return int(value) % 10 != 0


class Placed(WithRecord):
    """Beside each value its record, as it is known to flows that ask for values only: by value and place."""

    @property
    def looks_at_records(self) -> bool:
        return False


class Synced:
    """A file that has on disk what it was given."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, lines: Sequence[str]) -> None:
        now = time.monotonic_ns()
        os.write(self._file, "".join(f"{line} {now}\n" for line in lines).encode())
        os.fsync(self._file)


def main(address: str, topic: str, group: str, protocol: str, step: str, path: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(message)s")
    kafka = Kafka(address)
    flow = (
        kafka.source(topic, group_id=group, settings=settings_of(protocol))
        | filter_(wanted)
        | (Placed() if step == "values" else with_record())
        | STEPS[step]
        | batch(50, within=0.2)
        | unbatch()
        | sink(Synced(Path(path)))
    )
    flow.run(stop_timeout=STOP_TIMEOUT)


if __name__ == "__main__":
    main(*sys.argv[1:])
