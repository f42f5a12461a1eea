"""A flow as a value: a source and the steps behind it. Nothing here connects, starts or holds state.

Two nodes are equal when what the user gave is equal, wherever it was written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

from attrs import evolve, field, frozen

from flowdsl.errors import shown
from flowdsl.plan.branch import Branch
from flowdsl.plan.policy import ErrorPolicy, error_policy
from flowdsl.plan.where import Where, here
from flowdsl.stages.parts import Build, Part


def _checked_name(_: object, __: object, name: Any) -> None:
    if name is not None and (not isinstance(name, str) or not name):
        msg = f"name must be a text that is not empty, not {shown(name)}"
        raise TypeError(msg) if not isinstance(name, str) else ValueError(msg)


@frozen(kw_only=True)
class Node:
    """What sources and steps share. ``word``: what users type."""

    word: ClassVar[str]
    name: str | None = field(default=None, validator=_checked_name)
    where: Where = field(factory=here, eq=False, repr=False)

    @property
    def closes(self) -> bool:
        """Whether a flow ends here."""
        return False

    @property
    def drops(self) -> bool:
        """Whether values that do not leave were filtered."""
        return False

    def named_after(self) -> object:
        """The user's function, whose name the step gets; None where there is none."""
        return None

    def fails_in(self) -> object:
        """The user's function that an error names; None where there is none."""
        return self.named_after()

    def lower(self, build: Build) -> tuple[Part, ...]:  # noqa: ARG002  # for those that become something
        """What this becomes when the flow is compiled: parts in the order in which values pass them."""
        return ()


@frozen(kw_only=True)
class Source(Node):
    """Where the values of a plan come from."""

    @property
    def groups(self) -> bool:
        """Whether a value may come from several records."""
        return False


@frozen(kw_only=True)
class BranchInput(Source):
    """The source of a branch: what the step that holds the branch hands to it."""

    word = "branch"
    grouped: bool = False

    @property
    def groups(self) -> bool:
        return self.grouped


@frozen(kw_only=True)
class Operator(Node):
    """One step. Subclasses add what the user gave; ``on_error`` None means that of the run."""

    on_error: ErrorPolicy | None = field(default=None, converter=error_policy)

    @property
    def groups(self) -> bool:
        """Whether a value that leaves may come from several records."""
        return False

    @property
    def holds(self) -> bool:
        """Whether values wait here for others, so that their offsets wait with them."""
        return False

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The branches that begin here, in the order in which they were written."""
        return ()

    def refusal(self, before: Plan) -> str | None:  # noqa: ARG002  # for those that override it
        """Why this step cannot stand behind that plan; None if it can."""
        return None

    def grown(self, up: Upstream) -> Self:
        """This step with the plans of its branches, as it stands in the plan."""
        if self.on_error is not None:
            return evolve(self, on_error=self.on_error.grown(up, BranchInput(where=self.where)))
        return self


@frozen
class Plan:
    """A source, and the steps behind it in the order in which values pass them."""

    source: Source
    steps: tuple[Operator, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether the last step is a sink."""
        return bool(self.steps) and self.steps[-1].closes

    @property
    def groups(self) -> bool:
        """Whether a value at the end may come from several records."""
        return self.source.groups or any(step.groups for step in self.steps)

    def then(self, step: Operator) -> Plan:
        return evolve(self, steps=(*self.steps, step))


class Upstream(ABC):
    """What an operator is put onto: a flow, as far as plans need to know one."""

    __slots__ = ()

    plan: Plan

    @abstractmethod
    def then(self, step: Operator) -> Upstream:
        """The flow with one more step."""

    @abstractmethod
    def through(self, function: Callable[[Any], Any]) -> Upstream:
        """What the function makes of this flow."""

    @abstractmethod
    def begin(self, source: Source) -> Upstream:
        """A new flow without steps."""
