"""What happens to a record that fails, as a value. Who applies it is elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve, frozen

from flowdsl.errors import shown
from flowdsl.plan.branch import Branch

if TYPE_CHECKING:
    from flowdsl.flow.flow import ClosedFlow, Flow
    from flowdsl.flow.stats import Stats
    from flowdsl.plan.nodes import BranchInput, Plan, Upstream


@frozen
class ErrorPolicy:
    """What happens to a record that fails: "stop", "skip", or what ``dead_letter`` returns."""


@frozen
class Stop(ErrorPolicy):
    """The run ends with the error; the record is not committed and will be read again."""


@frozen
class Skip(ErrorPolicy):
    """The record is counted and logged, and its offset moves on."""


@frozen
class DeadLetter(ErrorPolicy):
    """The original record goes to a sink of its own, and its offset moves on once that sink has it."""

    branch: Branch

    @property
    def plan(self) -> Plan:
        """The steps that a dead letter passes."""
        return self.branch.plan

    def grown(self, up: Upstream, source: BranchInput) -> DeadLetter:
        """This policy with the plan of its sink."""
        return evolve(self, branch=self.branch.grown(up, source))


STOP = Stop()
SKIP = Skip()
NAMED = {"stop": STOP, "skip": SKIP}

OnError = Literal["stop", "skip"] | ErrorPolicy


def error_policy(on_error: OnError | None) -> ErrorPolicy | None:
    """The policy that a user gave; None for "that of the run"."""
    policy: Any = NAMED.get(on_error) if isinstance(on_error, str) else on_error
    if policy is None and on_error is None:
        return None
    if not isinstance(policy, ErrorPolicy):
        msg = f'on_error must be "stop", "skip" or dead_letter(...), not {shown(on_error)}'
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
