"""Whatever a strategy written by hand raises: nothing is lost or silent."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from attrs import frozen

from flowdsl import FlowError, Partition, StepFailed, through
from flowdsl.strategies import Commit, Message, ProcessingStrategy, RunTask
from tests.flow.test_failing_records import COUNT, PLACE, POSITIONS, Trap, Untold, driver_of, values


@frozen
class ByHand:
    """Makes a strategy that springs the trap."""

    trap: Trap

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int], downstream: ProcessingStrategy[bytes]
    ) -> ProcessingStrategy[bytes]:
        return RunTask(lambda message: self.trap.same(message.payload), downstream)


@pytest.mark.parametrize("at", POSITIONS)
@pytest.mark.parametrize("error", [ValueError, StopIteration, Untold, KeyboardInterrupt, SystemExit])
def test_strategy_written_by_hand_that_raises_ends_the_flow(error: type[BaseException], at: int) -> None:
    trap = Trap(at, error)
    driver = driver_of(through(ByHand(trap)))
    with pytest.raises(error if not issubclass(error, Exception) else StepFailed):
        driver.run_until_idle()
    assert (driver.outputs, driver.committed) == (values(0, at), {PLACE: at} if at else {})
    trap.armed = False
    driver.restart()
    driver.close()
    assert driver.outputs == values(0, COUNT)


class Hasty:
    """Its strategy commits what it has only handed on."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int], downstream: ProcessingStrategy[bytes]
    ) -> ProcessingStrategy[bytes]:
        def committed(message: Message[bytes]) -> bytes:
            commit(message.committable)
            return message.payload

        return RunTask(committed, downstream)


def test_strategy_in_the_middle_cannot_commit_what_is_not_done() -> None:
    driver = driver_of(through(Hasty()))
    with pytest.raises(FlowError, match="in the middle of a flow must not commit"):
        driver.run_until_idle()
    assert (driver.outputs, driver.committed) == ([], {})
