"""Send the time of day evenly, until the input ends: ``pace.py ADDRESS TOPIC PER_SECOND``."""

from __future__ import annotations

import select
import sys
import time

from confluent_kafka import Producer


def main(address: str, topic: str, per_second: int) -> None:
    producer = Producer({"bootstrap.servers": address, "linger.ms": 0})
    begun, sent = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], 0.001)[0]:
        due = int((time.monotonic() - begun) * per_second)
        for _ in range(due - sent):
            producer.produce(topic, str(time.monotonic_ns()).encode())
        sent = due
        producer.poll(0)
    producer.flush(10)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
