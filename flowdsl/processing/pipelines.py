"""The pipeline of the current assignment: made, drained, and thrown away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowdsl.clock import Deadline
from flowdsl.errors import InvalidMessage, shown
from flowdsl.stages.switch import Switch
from flowdsl.strategies.interface import ProcessingStrategy, ProcessingStrategyFactory
from flowdsl.types import Commit, Partition


class Pipelines:
    """Makes pipelines from a factory, one at a time."""

    def __init__(
        self,
        factory: ProcessingStrategyFactory[Any],
        commit: Commit,
        switch: Switch,
        on_invalid: Callable[[InvalidMessage], None],
    ) -> None:
        self._factory, self._commit, self._switch, self._on_invalid = factory, commit, switch, on_invalid
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
        self._factory.shutdown()

    def _join(self, pipeline: ProcessingStrategy[Any], deadline: Deadline) -> BaseException | None:
        while True:
            try:
                pipeline.join(deadline.remaining())
            except InvalidMessage as invalid:
                self._on_invalid(invalid)
                if deadline.expired:
                    return None
            except BaseException as error:  # noqa: BLE001  # raised by the loop, once the pipeline is gone
                return error
            else:
                return None
