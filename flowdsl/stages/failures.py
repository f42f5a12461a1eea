"""What happens when a user's function raises, or a record cannot be handled? This file answers.

A step that fails describes it as a ``Failure`` and asks its ``Handler``. The answer is that the run ends (the handler
raises), that the value is dropped and its offset moves on, or that it has to be asked again later.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

from msgspec import Struct

from flowdsl.clock import Clock
from flowdsl.errors import StepFailed, told
from flowdsl.interface.strategy import MessageRejected, ProcessingStrategy
from flowdsl.origins import Member
from flowdsl.records import Records
from flowdsl.stages.context import StepCount
from flowdsl.stages.ledger import Ledger
from flowdsl.stages.site import Site
from flowdsl.types import Message, Record

logger = logging.getLogger("flowdsl")


class Failure(Struct):
    """One value that a step could not handle. ``members``: the records it came from, with their numbers.

    ``count``: how many records it stands for, where there are more than these.
    """

    site: Site
    error: BaseException
    input: Any
    members: Sequence[Member]
    attempts: int = 1
    count: int = 0

    def records(self) -> list[Record[Any]]:
        """The records the value came from, in the order of arrival."""
        return [window.record(index) for window, index, _ in self.members]

    def raised(self) -> StepFailed:
        """The exception that tells of it; raise it ``from failure.error``."""
        window, index, _ = self.members[0]
        record = window.record(index)
        return StepFailed(
            step=self.site.name,
            function=self.site.function,
            file=self.site.file,
            line=self.site.line,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            value=record.value,
            input=self.input,
            reason=f"{type(self.error).__name__}: {told(self.error)}",
            count=max(self.count, len(self.members)),
            attempts=self.attempts,
        )


class Verdict(Enum):
    """What to do with a failed value."""

    DROP = auto()
    """It is dealt with: go on behind it, its offset moves."""
    WAIT = auto()
    """Nothing was done about it: keep it, keep what comes after it, ask again."""


class Handler(ABC):
    """One error policy at work, for one step."""

    ends_run = False
    """Whether a failing record ends the run, in the end."""

    def again(self, failure: Failure) -> float | None:  # noqa: ARG002  # for those that try again
        """When to try again, on the pipeline's clock; None to go on to ``handle``. Asked once for each failure."""
        return None

    @abstractmethod
    def handle(self, failure: Failure) -> Verdict:
        """Deal with a failed value, or raise its StepFailed. Called again with the same failure after WAIT."""


class Stop(Handler):
    """End the run."""

    ends_run = True

    def handle(self, failure: Failure) -> Verdict:
        raise failure.raised() from failure.error


class Skip(Handler):
    """Count it, log it, go on."""

    def __init__(self, count: StepCount) -> None:
        self._count = count

    def handle(self, failure: Failure) -> Verdict:
        self._count.failed += 1
        logger.warning("skipped, its offset moves on: %s", failure.raised().facts())
        return Verdict.DROP


class Retrying(Handler):
    """Try again, later; ``then`` when that was in vain.

    ``wait``: seconds after so many attempts, None where that is enough. Asked with the exception.
    """

    def __init__(self, wait: Callable[[int, BaseException], float | None], then: Handler, clock: Clock) -> None:
        self._wait, self._then, self._clock = wait, then, clock
        self.ends_run = then.ends_run

    def again(self, failure: Failure) -> float | None:
        seconds = self._wait(failure.attempts, failure.error)
        if seconds is None:
            return None
        text = "attempt %s of step %r failed, the next one is in %.2f s: %s: %s"
        logger.info(
            text, failure.attempts, failure.site.name, seconds, type(failure.error).__name__, told(failure.error)
        )
        return self._clock() + seconds

    def handle(self, failure: Failure) -> Verdict:
        return self._then.handle(failure)


class DeadLetters(Handler):
    """Hand the original records to a pipeline of their own; their offsets move when that is done with them."""

    def __init__(self, count: StepCount, ledger: Ledger, pipeline: ProcessingStrategy[Any]) -> None:
        self._count, self._ledger, self._pipeline = count, ledger, pipeline
        self._sent: tuple[Failure, int] | None = None

    def handle(self, failure: Failure) -> Verdict:
        sent = self._sent[1] if self._sent is not None and self._sent[0] is failure else 0
        for at, (window, index, number) in enumerate(failure.members):
            if at < sent:
                continue
            letter = DeadLetter(window.record(index), failure, number)
            self._ledger.hold(number)
            try:
                self._pipeline.submit(Message(letter))
            except MessageRejected:
                self._ledger.release(number)
                self._sent = failure, at
                return Verdict.WAIT
            except BaseException:
                # The pipeline owns it and failed: the run ends, and the offset stays held back for good.
                self._sent = None
                raise
        self._sent = None
        self._count.failed += 1
        return Verdict.DROP


class DeadLetter(Records):
    """The original of a failed record, as the source of a dead letter pipeline, with headers that tell what happened."""

    __slots__ = ("_failure", "_record", "number")

    def __init__(self, record: Record[Any], failure: Failure, number: int) -> None:
        super().__init__({})
        self._record, self._failure, self.number = record, failure, number

    def __len__(self) -> int:
        return 1

    @property
    def payload(self) -> list[Any]:
        return [self._record.value]

    def place(self, index: int) -> Any:
        window, at, _ = self._failure.members[0]
        return window.place(at + index)

    def record(self, index: int) -> Record[Any]:  # noqa: ARG002  # there is only one
        record = self._record
        return Record(
            record.topic,
            record.partition,
            record.offset,
            record.key,
            record.value,
            (*record.headers, *failure_headers(record, self._failure)),
            record.timestamp,
        )

    def window(self, start: int, stop: int) -> Records:  # noqa: ARG002  # there is only one
        return self


def failure_headers(record: Record[Any], failure: Failure) -> tuple[tuple[str, bytes], ...]:
    """What a dead letter carries beside the original's own headers, all as UTF-8 text."""
    error = type(failure.error)
    module = "" if error.__module__ == "builtins" else f"{error.__module__}."
    told_by = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": "" if record.timestamp is None else record.timestamp.isoformat(),
        "step": failure.site.name,
        "exception": f"{module}{error.__qualname__}",
        "message": told(failure.error),
        "attempts": str(failure.attempts),
    }
    return tuple((f"flowdsl-{name}", text.encode("utf-8", "replace")) for name, text in told_by.items())
