"""The pipeline of the current assignment: made, drained, and thrown away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowdsl.clock import Deadline
from flowdsl.errors import InvalidMessage, shown
from flowdsl.interface.strategy import ProcessingStrategy, ProcessingStrategyFactory
from flowdsl.stages.switch import Switch
from flowdsl.types import Commit, Partition


class Pipelines:
    """Makes pipelines from a factory, one at a time."""

    def __init__(
        self,
        factory: ProcessingStrategyFactory[Any],
        commit: Commit,
        switch: Switch,
        on_invalid: Callable[[InvalidMessage], None],
        on_end: Callable[[], None] | None,
    ) -> None:
        self._factory, self._commit, self._switch = factory, commit, switch
        self._on_invalid, self._on_end = on_invalid, on_end
        self._is_shut = False
        self.current: ProcessingStrategy[Any] | None = None

    def open(self, partitions: Mapping[Partition, int]) -> None:
        """A fresh pipeline for these partitions."""
        pipeline: Any = self._factory.create_with_partitions(self._commit, partitions)
        if not isinstance(pipeline, ProcessingStrategy):
            maker = type(self._factory).__name__
            msg = f"create_with_partitions of {maker} must return a ProcessingStrategy, but returned {shown(pipeline)}"
            raise TypeError(msg)
        self.current = pipeline

    def drain(self, deadline: Deadline) -> BaseException | None:
        """Finish what was submitted, as far as the time allows; returns what went wrong. The pipeline is gone then.

        When a step fails on the way, what is under way behind it is still finished.
        """
        pipeline = self.current
        if pipeline is None:
            return None
        self.current = None
        self._switch.drain_until(deadline.at)
        error: BaseException | None = None
        try:
            pipeline.close()
            error = self._join(pipeline, deadline)
            if error is not None and not self._switch.abandoned:
                self._join(pipeline, deadline)
        except BaseException as unexpected:  # noqa: BLE001  # raised by the loop, once the pipeline is gone
            error = error or unexpected
        finally:
            pipeline.terminate()
            self._switch.drain_until(None)
        return error

    def drop(self) -> None:
        """Abandon what was submitted."""
        pipeline, self.current = self.current, None
        if pipeline is not None:
            pipeline.terminate()

    def shutdown(self) -> None:
        """Once, whoever asks for it."""
        if not self._is_shut:
            self._is_shut = True
            self._factory.shutdown()

    def held_up_by(self) -> str:
        """Why nothing is taken, in words."""
        holder = None if self.current is None else self.current.held_by()
        return "the function in hand is slow" if holder is None else f"they wait for the step {holder!r}"

    def next_deadline(self) -> float | None:
        """When the pipeline has to be polled at the latest."""
        return None if self.current is None else self.current.next_deadline()

    def _join(self, pipeline: ProcessingStrategy[Any], deadline: Deadline) -> BaseException | None:
        """Also when there are too many invalid records they are heard of to the end: then it is known what is done."""
        first: BaseException | None = None
        while True:
            try:
                pipeline.join(deadline.remaining())
            except InvalidMessage as invalid:
                first = first or self._handled(invalid)
                if deadline.expired:
                    return first
            except BaseException as error:  # noqa: BLE001  # raised by the loop, once the pipeline is gone
                return first or error
            else:
                if self._on_end is not None:
                    self._on_end()
                return first

    def _handled(self, invalid: InvalidMessage) -> BaseException | None:
        try:
            self._on_invalid(invalid)
        except BaseException as error:  # noqa: BLE001  # as above
            return error
        return None
