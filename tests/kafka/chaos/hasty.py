"""A member as one writes it in a hurry: offsets are committed when records are read. Chaos has to find that.

``hasty.py ADDRESS TOPIC GROUP PROTOCOL STEP FILE``, as member.py.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from tests.kafka.chaos.member import Synced, wanted
from tests.kafka.protocols import settings_of

CARELESS = {"enable.auto.commit": True, "auto.commit.interval.ms": 100, "auto.offset.reset": "earliest"}


def told(_: Consumer, partitions: list[TopicPartition]) -> None:
    """So that it can be seen when it has joined, as with other members."""
    if partitions:
        print("assigned: ", len(partitions), flush=True)  # noqa: T201  # its log


def main(address: str, topic: str, group: str, protocol: str, _step: str, path: str) -> None:
    consumer = Consumer({"bootstrap.servers": address, "group.id": group, **CARELESS, **settings_of(protocol)})
    consumer.subscribe([topic], on_assign=told)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    file = Synced(Path(path))
    held: list[str] = []
    while not stopped:
        for message in consumer.consume(500, 0.1):
            value = message.value()
            if isinstance(value, bytes) and wanted(value):
                held.append(f"{message.partition()} {message.offset()} {value.decode()}")
        if len(held) > 1000:  # what is held here is committed already
            file.write(held)
            held.clear()
    file.write(held)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
