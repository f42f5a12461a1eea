"""Records under way all the time: an idempotent producer of its own, which keeps on through every outage.

It is told its servers again as the library's own producers are, since librdkafka may lose them where the broker stops.
"""

from __future__ import annotations

import threading
import time

from confluent_kafka import KafkaError, Message, Producer

from flowdsl.brokers.kafka.bootstrap import Bootstrap


class Load:
    """Produces 0, 1, 2, ... at a rate, round the partitions. ``sent`` maps (partition, offset) to what stands there.

    ``unplaced`` are those that are acknowledged, but of which the producer does not know the offset.
    """

    def __init__(self, address: str, topic: str, partitions: int, rate: int) -> None:
        settings = {
            "bootstrap.servers": address,
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.timeout.ms": 600_000,
            "log_level": 0,
            "error_cb": self._hear,
        }
        self.sent: dict[tuple[int, int], int] = {}
        self.unplaced: set[int] = set()
        self.refused: list[str] = []
        self._heard: list[str] = []
        self._bootstrap = Bootstrap(address, settings)
        self._producer = Producer(settings)
        self._topic, self._partitions, self._rate = topic, partitions, rate
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="load", daemon=True)
        self._thread.start()

    def end(self, timeout: float) -> int:
        """Wait until everything is acknowledged; how many there were."""
        self._ending.set()
        self._thread.join(timeout)
        left = len(self._producer)
        assert not self._thread.is_alive(), (
            f"the load cannot get {left} of its records acknowledged: {self._heard[-5:]}"
        )
        assert not self.refused, self.refused[:3]
        return len(self.sent) + len(self.unplaced)

    def _produce(self) -> None:
        begun, number = time.monotonic(), 0
        while not self._ending.is_set():
            due = int((time.monotonic() - begun) * self._rate)
            while number < due:
                self._send(number)
                number += 1
            self._producer.poll(0.01)
            self._bootstrap.serve(self._producer)
        while self._producer.flush(1.0):
            self._bootstrap.serve(self._producer)

    def _hear(self, error: KafkaError) -> None:
        self._heard.append(f"{time.monotonic():.1f} {error}")
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # librdkafka's own errors are named so
            self._bootstrap.all_down()

    def _send(self, number: int) -> None:
        def report(error: object, message: Message) -> None:
            if error is not None:
                self.refused.append(str(error))
                return
            if (message.offset() or 0) < 0:  # sent twice, and taken once: the broker does not tell where
                self.unplaced.add(number)
                return
            self.sent[message.partition() or 0, message.offset() or 0] = number

        value = str(number).encode()
        try:
            self._producer.produce(self._topic, value, partition=number % self._partitions, on_delivery=report)
        except BufferError:
            self._producer.poll(0.1)
            self._send(number)
