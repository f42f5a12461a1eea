"""Every exception that a user may meet. Each tells what happened, where, and what to do about it; all of them pickle."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Sequence
from typing import Any, Self

from msgspec import Struct

from flowdsl.types import BrokerValue, Partition

SHOWN = 200
"""Values in messages are shortened to so many characters."""


def shown(value: object) -> str:
    """The ``repr`` of a value, shortened; never raises, whatever the value does."""
    try:
        text = repr(_beginning(value))
    except Exception as broken:  # noqa: BLE001  # a user's __repr__
        text = f"<{type(value).__name__} whose repr raises {type(broken).__name__}>"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _beginning(value: Any) -> Any:
    """As much of a large value as is shown: nobody waits for the repr of ten million items."""
    return value[:SHOWN] if type(value) in (list, tuple, str, bytes) else value


def told(error: BaseException) -> str:
    """What an exception says, shortened; never raises, whatever its ``__str__`` does."""
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001  # a user's __str__
        text = f"<its __str__ raises {type(broken).__name__}>"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def refuse_awaitable(result: object, what: str = "the function") -> None:
    """Raise TypeError for an awaitable, which nobody would await; a coroutine is closed. ``what``: who returned it."""
    if not hasattr(result, "__await__"):
        return
    if inspect.iscoroutine(result):
        result.close()
    text = f"{what} returned an awaitable ({type(result).__name__}); define it with async def"
    raise TypeError(text)


class FlowError(Exception):
    """The base of everything that flowdsl raises, apart from TypeError and ValueError for bad arguments."""


class Problem(Struct, frozen=True):
    """One fault of a flow, and where the user wrote it."""

    message: str
    step: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = f" ({self.file}:{self.line})" if self.file is not None else ""
        return f"{self.step}: {self.message}{where}"


class FlowDefinitionError(FlowError):
    """A flow that cannot work as it is written. ``problems`` holds all its faults."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        lines = "".join(f"\n  {number}. {problem}" for number, problem in enumerate(self.problems, 1))
        return f"the flow has {len(self.problems)} faults:{lines}"


class FlowNotClosedError(FlowDefinitionError, AttributeError):
    """An open flow was asked to run: it needs a sink first."""


class StepFailed(FlowError):  # noqa: N818  # named for what happened
    """A user's function raised, or a record could not be handled, and the policy was to stop.

    Everything before the record that is complete was committed, the record itself was not: it is read again.

    ``step``, ``function``, ``file``, ``line``: what failed, and where it is defined. ``topic``, ``partition``,
    ``offset``: the record; of a group of records the first one, and ``count`` says how many there are. ``value``: the
    record's own bytes; ``input``: what the step received. ``__cause__``: what the function raised. Where no record was
    in hand, because a sink could not be opened or closed, ``count`` is 0.
    """

    def __init__(
        self,
        *,
        step: str,
        function: str,
        file: str | None,
        line: int | None,
        topic: str,
        partition: int,
        offset: int,
        value: Any,
        input: Any,  # noqa: A002  # the name in the contract
        reason: str,
        count: int = 1,
        attempts: int = 1,
    ) -> None:
        self.step, self.function, self.file, self.line = step, function, file, line
        self.topic, self.partition, self.offset, self.count = topic, partition, offset, count
        self.value, self.input = value, input
        self.reason, self.attempts = reason, attempts
        super().__init__(reason)

    def facts(self) -> str:
        """What happened and where, without what to do about it."""
        where = f"{self.function} ({self.file}:{self.line})" if self.file is not None else self.function
        if not self.count:
            return f"step {self.step!r} failed: {self.reason}\n  in: {where}"
        source = f"{self.topic}[{self.partition}]" if self.topic else "values in memory"
        group = f" and the {self.count - 1} records grouped with it" if self.count > 1 else ""
        tried = f", after {self.attempts} attempts" if self.attempts > 1 else ""
        return (
            f"step {self.step!r} failed at {source} offset {self.offset}{group}: {self.reason}{tried}\n"
            f"  in: {where}\n"
            f"  input: {shown(self.input)}\n"
            f"  value: {shown(self.value)}"
        )

    def __str__(self) -> str:
        if not self.count:
            return f"{self.facts()}\n  No record was in hand: what is done is committed, and nothing else is."
        return (
            f"{self.facts()}\n"
            "  The record is not committed and will be read again. Mend the function, or choose what happens to such "
            'records: on_error="skip" or on_error=dead_letter(...).'
        )

    def __reduce__(self) -> tuple[Any, ...]:
        names = [name for name in StepFailed.__init__.__annotations__ if name != "return"]
        return _step_failed, ({name: _portable(getattr(self, name)) for name in names},)


def _portable(value: Any) -> Any:
    """The value, or how it shows itself where it cannot be pickled: the error must reach whoever waits for it."""
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001  # whatever a user's value raises
        return shown(value)
    return value


def _step_failed(fields: dict[str, Any]) -> StepFailed:
    return StepFailed(**fields)


class BrokerError(FlowError):
    """Something went wrong between this process and the broker."""


class BrokerUnreachable(BrokerError):  # noqa: N818  # named for what happened
    """No broker answered at the given address."""


class TopicNotFound(BrokerError):  # noqa: N818  # named for what happened
    """The topic does not exist; the message lists those that do."""


class NotAuthorized(BrokerError):  # noqa: N818  # named for what happened
    """The broker refused the operation for lack of rights."""


class DeliveryFailed(BrokerError):  # noqa: N818  # named for what happened
    """The broker did not acknowledge a record."""


class OffsetOutOfRange(BrokerError):  # noqa: N818  # named for what happened
    """Records are gone from the broker before they were read."""


class Fenced(BrokerError):  # noqa: N818  # named for what happened
    """Another member with the same identity took over."""


class CommitFailed(BrokerError):  # noqa: N818  # named for what happened
    """The last commit of a run was not acknowledged: records are repeated, none is lost."""


class StopTimeout(FlowError):  # noqa: N818  # named for what happened
    """The drain did not finish in time. What was not done is not committed and will be read again."""


class RunTimeout(FlowError):  # noqa: N818  # named for what happened
    """A bounded run did not reach its end before its deadline."""


class WorkerDied(FlowError):  # noqa: N818  # named for what happened
    """A worker process ended again and again where it should not, or its pool was closed while work was waiting."""


class DlqLimitExceeded(FlowError):  # noqa: N818  # named for what happened
    """More invalid records than the dead letter policy allows."""


class InvalidMessage(Exception):  # noqa: N818  # the name that the field knows
    """Raised by a hand-written strategy for a record that cannot be handled; the processor hands it to the DlqPolicy.

    ``needs_commit``: whether the offset still has to be handed downstream by whoever catches this.
    """

    def __init__(self, partition: Partition, offset: int, needs_commit: bool = True, reason: str | None = None) -> None:
        if not isinstance(partition, Partition):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
            msg = f"partition must be a Partition, not {shown(partition)}"
            raise TypeError(msg)
        if not isinstance(offset, int) or isinstance(offset, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # as above
            msg = f"offset must be a whole number, not {shown(offset)}"
            raise TypeError(msg)
        super().__init__(partition, offset, needs_commit, reason)
        self.partition, self.offset, self.needs_commit, self.reason = partition, offset, needs_commit, reason

    @classmethod
    def from_value(cls, value: object, reason: str | None = None) -> Self:
        """For the record that this value, or message, is. Raises TypeError for one that is not a single record."""
        inner: object = getattr(value, "value", value)
        if not isinstance(inner, BrokerValue):
            msg = f"from_value takes a BrokerValue, not {type(value).__name__}: name the partition and offset instead"
            raise TypeError(msg)
        return cls(inner.partition, inner.offset, reason=reason)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.partition, self.offset, self.needs_commit, self.reason)

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"invalid record at {self.partition} offset {self.offset}{reason}"
