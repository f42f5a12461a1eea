"""Strategies written by hand: driven by a `StreamProcessor`, and in the middle of a flow.

Whoever has strategies for arroyo keeps them; only the imports change.

Run it with: python examples/hand_written.py
"""

from collections.abc import Mapping

from flowdsl import LocalBroker, Partition, Topic, map_, through, to_list
from flowdsl.processing import ONCE_PER_SECOND, StreamProcessor
from flowdsl.strategies import (
    Commit,
    CommitOffsets,
    FilteredPayload,
    KafkaPayload,
    Message,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    RunTask,
)


class RunningTotal(ProcessingStrategy[int]):
    """Adds up what comes, and hands on the total so far.

    ``submit`` of the next step may raise MessageRejected: the same message is offered again later. Therefore nothing is
    changed here before the next step has taken the total.
    """

    def __init__(self, next_step: ProcessingStrategy[int]) -> None:
        self.next_step = next_step
        self.total = 0

    def submit(self, message: Message[int | FilteredPayload]) -> None:
        if isinstance(message.payload, FilteredPayload):
            self.next_step.submit(message)  # no data, but offsets, which must go on
            return
        total = self.total + message.payload
        self.next_step.submit(message.replace(total))
        self.total = total

    def poll(self) -> None:
        self.next_step.poll()

    def close(self) -> None:
        self.next_step.close()

    def join(self, timeout: float | None = None) -> None:
        self.next_step.join(timeout)

    def terminate(self) -> None:
        self.next_step.terminate()


class TotalFactory:
    """Makes one for each assignment, in front of the steps of the flow that come after it."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int], downstream: ProcessingStrategy[int]
    ) -> ProcessingStrategy[int]:
        return RunningTotal(downstream)


class PrintFactory(ProcessingStrategyFactory[KafkaPayload]):
    """A whole pipeline by hand: print every record, commit it, and stop after the last."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.processor: StreamProcessor | None = None

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        return RunTask(self.show, CommitOffsets(commit))

    def show(self, message: Message[KafkaPayload]) -> None:
        print("record:", message.payload.value)
        if message.payload.value == b"%d" % self.last and self.processor is not None:
            self.processor.signal_shutdown()


def main() -> None:
    broker = LocalBroker()
    count = broker.write("numbers", (str(number) for number in range(1, 6)))
    print(f"{count} records")

    factory = PrintFactory(last=5)
    factory.processor = StreamProcessor(
        consumer=broker.consumer(group_id="by-hand"),
        topic=Topic("numbers"),
        processor_factory=factory,
        commit_policy=ONCE_PER_SECOND,
    )
    factory.processor.run()
    print("committed:", {str(partition): offset for partition, offset in broker.committed("by-hand").items()})

    flow = broker.source("numbers", group_id="flow", decode=int) | through(TotalFactory()) | map_(str) | to_list()
    print("totals:", ", ".join(flow.run(until="end")))


if __name__ == "__main__":
    main()
