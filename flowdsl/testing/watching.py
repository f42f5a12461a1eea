"""What a driver sees of a flow: what reached its sinks, and its dead letters. And how it makes a stage reject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.interface.strategy import MessageRejected, ProcessingStrategy
from flowdsl.operators.produce import ProduceTo
from flowdsl.plan.names import NamedPlan, Step
from flowdsl.stages.failures import DeadLetter
from flowdsl.stages.segment import Segment
from flowdsl.types import Message, Record


class Watch:
    """Notes what leaves the flow, over all its lives. ``delivered``, ``sink`` and ``stage`` are hooks of a run."""

    def __init__(self, plan: NamedPlan, letters: NamedPlan | None) -> None:
        self._sinks: dict[str, list[Any]] = {step.name: [] for step in _sinks(plan)}
        self._objects: set[str] = set()
        self._steps = list(plan.all_steps()) + ([] if letters is None else list(letters.all_steps()))
        inner = [letters, *(step.dead_letters for step in self._steps)]
        self._letter_sinks = {step.name: step.operator for each in inner if each is not None for step in _sinks(each)}
        self._sources = [each.name for each in plan.all_sources()]
        self._rejects: Counter[str] = Counter()
        self.dead_letters: list[Record[Any]] = []
        self.seen = 0
        """How many values and dead letters were noted."""

    @property
    def outputs(self) -> Any:
        """The values of the one sink, or of each by its step's name."""
        copies = {name: list(values) for name, values in self._sinks.items()}
        return next(iter(copies.values())) if len(copies) == 1 else copies

    def reject_next(self, step: str) -> None:
        """Make the stage that holds this step reject once. Raises ValueError where there is no such step."""
        names = [*self._sources, *(each.name for each in self._steps)]
        if step not in names:
            msg = f"step must be the name of a step, not {step!r}; there are {', '.join(names)}"
            raise ValueError(msg)
        self._rejects[step] += 1

    def delivered(self, name: str, values: Sequence[Any]) -> None:
        """Values are safe in a sink; those of an object were noted when it got them."""
        if name in self._sinks and name not in self._objects:
            self._note(name, values)

    def sink(self, name: str, target: Any) -> Any:
        """A user's sink: a function as it is, an object with a look at its ``write``."""
        if not hasattr(target, "write") or name not in self._sinks:
            return target
        self._objects.add(name)
        return WatchedSink(target, lambda values: self._note(name, values))

    def stage(self, strategy: ProcessingStrategy[Any], names: tuple[str, ...]) -> ProcessingStrategy[Any]:
        """A stage that can be made to reject."""
        if not names:
            return strategy
        ends_letters = any(self._ends_letters(strategy, name) for name in names)
        return WatchedStage(strategy, names, self._rejects, self._note_letters if ends_letters else None)

    def _ends_letters(self, strategy: ProcessingStrategy[Any], name: str) -> bool:
        """A broker's sink is two stages, of which the second sends; every other one is part of a segment."""
        sends = isinstance(self._letter_sinks.get(name), ProduceTo)
        return name in self._letter_sinks and isinstance(strategy, Segment) is not sends

    def _note(self, name: str, values: Sequence[Any]) -> None:
        self._sinks[name] += values
        self.seen += len(values)

    def _note_letters(self, chunk: Chunk[Any]) -> None:
        for index in range(len(chunk)):
            members = chunk.origins.members(index)
            found = [window.record(at) for window, at, _ in members if isinstance(window, DeadLetter)]
            self.dead_letters += found
            self.seen += len(found)


class WatchedSink:
    """A user's sink object: the values that its ``write`` took are noted."""

    def __init__(self, target: Any, note: Callable[[Sequence[Any]], None]) -> None:
        self._target, self._note = target, note
        for method in ("open", "flush", "close"):
            if callable(getattr(target, method, None)):
                setattr(self, method, getattr(target, method))

    def write(self, values: Sequence[Any]) -> Any:
        result = self._target.write(values)
        if not hasattr(result, "__await__"):
            self._note(list(values))
        return result


class WatchedStage(ProcessingStrategy[Any]):
    """Stands in front of a stage and rejects when told to, before the stage sees the message."""

    def __init__(
        self,
        stage: ProcessingStrategy[Any],
        names: tuple[str, ...],
        rejects: Counter[str],
        taken: Callable[[Chunk[Any]], None] | None,
    ) -> None:
        self._stage, self._names, self._rejects, self._taken = stage, names, rejects, taken

    def submit(self, message: Message[Any]) -> None:
        for name in self._names:
            if self._rejects[name]:
                self._rejects[name] -= 1
                raise MessageRejected
        self._stage.submit(message)
        chunk = message.value
        if self._taken is not None and isinstance(chunk, Chunk):
            self._taken(chunk)  # pyright: ignore[reportUnknownArgumentType]  # of whatever values

    def poll(self) -> None:
        self._stage.poll()

    def close(self) -> None:
        self._stage.close()

    def join(self, timeout: float | None = None) -> None:
        self._stage.join(timeout)

    def terminate(self) -> None:
        self._stage.terminate()

    def next_deadline(self) -> float | None:
        return self._stage.next_deadline()

    def __str__(self) -> str:
        return str(self._stage)


def _sinks(plan: NamedPlan) -> Iterator[Step]:
    for inner in plan.merged:
        yield from _sinks(inner)
    for step in plan.steps:
        if step.branches:
            for branch in step.branches:
                yield from _sinks(branch)
        elif step.operator.closes:
            yield step
