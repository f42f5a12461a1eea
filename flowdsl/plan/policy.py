"""What happens to a record that fails, as a value. Who applies it is elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from flowdsl.clock import Duration, to_seconds
from flowdsl.errors import shown
from flowdsl.interface import arguments
from flowdsl.plan.branch import Branch

if TYPE_CHECKING:
    from flowdsl.flow.flow import ClosedFlow, Flow
    from flowdsl.flow.stats import Stats
    from flowdsl.plan.nodes import BranchInput, Plan, Upstream


class ErrorPolicy(Struct, frozen=True):
    """What happens to a record that fails: "stop", "skip", or what ``dead_letter`` and ``retry`` return."""

    @property
    def letters(self) -> DeadLetter | None:
        """The dead letter policy in it; None where there is none."""
        return None

    @property
    def stops(self) -> bool:
        """Whether it ends the run in the end."""
        return False

    def grown(self, up: Upstream, source: BranchInput) -> ErrorPolicy:  # noqa: ARG002  # for those that hold a plan
        """This policy with the plan of its sink."""
        return self


class Stop(ErrorPolicy, frozen=True):
    """The run ends with the error; the record is not committed and will be read again."""

    @property
    def stops(self) -> bool:
        return True


class Skip(ErrorPolicy, frozen=True):
    """The record is counted and logged, and its offset moves on."""


class DeadLetter(ErrorPolicy, frozen=True):
    """The original record goes to a sink of its own, and its offset moves on once that sink has it."""

    branch: Branch

    @property
    def letters(self) -> DeadLetter:
        return self

    @property
    def plan(self) -> Plan:
        """The steps that a dead letter passes."""
        return self.branch.plan

    def grown(self, up: Upstream, source: BranchInput) -> DeadLetter:
        return replace(self, branch=self.branch.grown(up, source))


Errors = type[Exception] | tuple[type[Exception], ...]


class Retry(ErrorPolicy, frozen=True):
    """The record is tried again, ``attempts`` times in all; then it is up to ``then``. Durations in seconds."""

    attempts: int
    first: float = 0.1
    most: float = 30.0
    jitter: bool = True
    only: Errors = Exception
    then: ErrorPolicy = Stop()

    @property
    def letters(self) -> DeadLetter | None:
        return self.then.letters

    @property
    def stops(self) -> bool:
        return self.then.stops

    def wait(self, attempts: int, error: BaseException, chance: Callable[[], float]) -> float | None:
        """Seconds until the next attempt, after so many; None where there is none. ``chance`` draws from 0 to 1."""
        if attempts >= self.attempts or not isinstance(error, self.only):
            return None
        seconds = self._seconds(attempts)
        return seconds * (1 - chance() / 2) if self.jitter else seconds

    @property
    def longest(self) -> float:
        """Seconds that all waits take together, at most."""
        return sum(map(self._seconds, range(1, self.attempts)))

    def _seconds(self, attempts: int) -> float:
        return min(self.most, self.first * 2.0 ** min(attempts - 1, 60))

    def grown(self, up: Upstream, source: BranchInput) -> Retry:
        return replace(self, then=self.then.grown(up, source))


STOP = Stop()
SKIP = Skip()
NAMED: dict[str, ErrorPolicy] = {"stop": STOP, "skip": SKIP}

OnError = Literal["stop", "skip"] | ErrorPolicy


def error_policy(on_error: OnError | None) -> ErrorPolicy | None:
    """The policy that a user gave; None for "that of the run"."""
    policy: Any = NAMED.get(on_error) if isinstance(on_error, str) else on_error
    if policy is None and on_error is None:
        return None
    if not isinstance(policy, ErrorPolicy):
        msg = f'on_error must be "stop", "skip", dead_letter(...) or retry(...), not {shown(on_error)}'
        raise ValueError(msg)  # noqa: TRY004  # one kind of error for everything that is not among the choices
    return policy


def dead_letter(sink: Callable[[Flow[bytes]], ClosedFlow[Stats]]) -> ErrorPolicy:
    """Send the records that fail to ``sink``: ``on_error=dead_letter(broker.sink("orders-dead"))``.

    ``sink`` is a sink or any fragment that ends in one. Its payload is the raw value of the record; key, value and
    headers are those of the record, with headers added that tell what happened: ``flowdsl-topic``, ``-partition``,
    ``-offset``, ``-timestamp``, ``-step``, ``-exception``, ``-message``, ``-attempts``. The offset moves once the sink
    has the record. Of a failed group every original record is sent.

    >>> from flowdsl import LocalBroker, dead_letter, map_, to_list
    >>> broker = LocalBroker()
    >>> broker.write("numbers", ["1", "two"])
    2
    >>> flow = broker.source("numbers") | map_(int, on_error=dead_letter(broker.sink("no-numbers"))) | to_list()
    >>> flow.run(until="end")
    [1]
    >>> [record.value for record in broker.read("no-numbers")]
    [b'two']
    """
    if not callable(sink):  # pyright: ignore[reportUnnecessaryComparison]  # users without a type checker
        msg = f"sink must be a sink or a fragment that ends in one, not {shown(sink)}"
        raise TypeError(msg)
    return DeadLetter(Branch("dead letters", sink))


def retry(
    attempts: int,
    *,
    first: Duration = 0.1,
    most: Duration = 30.0,
    jitter: bool = True,
    only: Errors = Exception,
    then: OnError = "stop",
) -> ErrorPolicy:
    """Try a record that fails again: ``on_error=retry(5, then="skip")``.

    ``attempts`` counts all calls, the first included. ``first``: seconds before the second, twice as many before the
    third, and so on, at most ``most``; ``jitter`` makes each wait shorter by chance, down to half. ``only``: the
    exceptions that are worth it. ``then``: what happens after the last attempt, and to other exceptions: "stop", "skip"
    or ``dead_letter(...)``.

    Nothing sleeps: the record is set aside, and what comes after it in its partition waits behind it; other partitions
    go on. When partitions are taken away or the run is stopped, what waits is given up and read again.
    """
    arguments.count(attempts, "attempts")
    kinds = only if isinstance(only, tuple) else (only,)
    if not kinds or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
        msg = f"only must be an exception type, or a tuple of them, not {shown(only)}"
        raise TypeError(msg)
    last = NAMED.get(then) if isinstance(then, str) else then
    if not isinstance(last, ErrorPolicy) or isinstance(last, Retry):
        msg = f'then must be "stop", "skip" or dead_letter(...), not {shown(then)}'
        raise ValueError(msg)  # noqa: TRY004  # as for on_error
    return Retry(attempts, to_seconds(first, "first"), to_seconds(most, "most"), bool(jitter), only, last)
