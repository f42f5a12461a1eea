"""A simulated producer: acknowledgements take their time, queues are full, records are refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from flowdsl.brokers.protocols import Delivery, Outgoing
from flowdsl.clock import Clock
from flowdsl.errors import DeliveryFailed
from flowdsl.testing.simulation.faults import Dice
from flowdsl.types import KafkaPayload, Partition, Topic

Epochs = Mapping[Partition, int]
"""How often a member began to read each partition: which reading of a record an output stands for."""
Arrived = Callable[[Outgoing, Epochs], None]


class SimulatedProducer:
    """Records reach their topic after a while, in order, and are reported a while later."""

    def __init__(
        self, dice: Dice, clock: Clock, arrived: Arrived, epochs: Callable[[], Epochs], *, fails: bool
    ) -> None:
        self._dice, self._clock, self._arrived, self._epochs, self._fails = dice, clock, arrived, epochs, fails
        self._queue: deque[tuple[float, Outgoing, Delivery, int, Epochs]] = deque()

    def expect(self, topic: str | None, partition: int | None = None) -> None:
        """The first record makes it."""

    def send(self, records: Sequence[Outgoing], delivery: Delivery, first: int = 0) -> int:
        taken = len(records)
        if taken and self._dice.falls(self._dice.weather.produce_partial):
            taken = self._dice.random.randint(0, taken)
        for index in range(taken):
            at = self._clock() + self._dice.delay(self._dice.weather.produce_delay)
            latest = max(at, self._queue[-1][0]) if self._queue else at
            self._queue.append((latest, records[index], delivery, first + index, self._epochs()))
        delivery.waiting += taken
        return taken

    def poll(self, timeout: float = 0.0) -> None:  # noqa: ARG002  # time passes elsewhere
        while self._queue and self._queue[0][0] <= self._clock():
            _, outgoing, delivery, index, epochs = self._queue.popleft()
            if self._fails and self._dice.falls(self._dice.weather.sink_fails):
                delivery.report(index, DeliveryFailed("the simulated broker refused a record"))
                continue
            self._arrived(outgoing, epochs)
            delivery.report(index, None)

    def produce(self, destination: Topic | Partition, payload: KafkaPayload) -> Future[Any]:
        """For strategies written by hand; arrives at once."""
        topic = destination.topic.name if isinstance(destination, Partition) else destination.name
        self._arrived(Outgoing(topic, None, payload.key, payload.value, tuple(payload.headers), None), self._epochs())
        future: Future[Any] = Future()
        future.set_result(None)
        return future

    def purge(self) -> None:
        """What the broker has already arrives all the same, and nobody is told."""
        for _, outgoing, _, _, epochs in self._queue:
            if not self._dice.falls(0.5):
                break
            self._arrived(outgoing, epochs)
        self._queue.clear()

    def close(self, timeout: float) -> None:  # noqa: ARG002  # nothing to wait for
        self._queue.clear()
