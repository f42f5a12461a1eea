"""A flow as a value: a source and the steps behind it. Nothing here connects, starts or holds state.

Two nodes are equal when what the user gave is equal, wherever it was written.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

from attrs import evolve, field, fields, frozen
from msgspec import Struct
from msgspec.structs import replace

from flowdsl.errors import FlowDefinitionError, Problem, shown
from flowdsl.plan.branch import Branch
from flowdsl.plan.policy import ErrorPolicy
from flowdsl.plan.where import Where, here
from flowdsl.stages.parts import Build, Part


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Node:
    """What sources and steps share. The fields are what the user gave."""

    word: ClassVar[str]
    """What users type."""
    apart: ClassVar[tuple[str, ...]] = ("where",)
    """Fields that users do not give: neither compared nor shown."""
    hidden: ClassVar[tuple[str, ...]] = ()
    """Other fields that are not shown."""
    by_keyword: ClassVar[tuple[str, ...]] = ()
    """Fields that are always given, and by their names."""
    name: str | None = None
    where: Where = field(factory=here)

    def __attrs_post_init__(self) -> None:
        if self.name is not None and (not isinstance(self.name, str) or not self.name):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a type checker
            msg = f"name must be a text that is not empty, not {shown(self.name)}"
            raise TypeError(msg) if not isinstance(self.name, str) else ValueError(msg)  # pyright: ignore[reportUnnecessaryIsInstance]  # as above

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.given() == self.given()

    def __hash__(self) -> int:
        return hash((type(self), *self.given().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.given().items())})"

    def given(self) -> dict[str, Any]:
        """What the user gave, and what stands for the rest, by the names of the fields."""
        return {each.name: getattr(self, each.name) for each in fields(type(self)) if each.name not in self.apart}

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

    def fault(self, text: str) -> FlowDefinitionError:
        """The error that tells this of the node, and where it was written."""
        return FlowDefinitionError([Problem(text, self.name or self.word, self.where.file, self.where.line)])

    def lower(self, build: Build) -> tuple[Part, ...]:  # noqa: ARG002  # for those that become something
        """What this becomes when the flow is compiled: parts in the order in which values pass them."""
        return ()


class Source(Node):
    """Where the values of a plan come from."""

    @property
    def groups(self) -> bool:
        """Whether a value may come from several records."""
        return any(plan.groups for plan in self.merged)

    @property
    def merged(self) -> tuple[Plan, ...]:
        """The plans that it brings together; none for a source that reads something itself."""
        return ()


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class BranchInput(Source):
    """The source of a branch: what the step that holds the branch hands to it."""

    word = "branch"
    grouped: bool = False

    @property
    def groups(self) -> bool:
        return self.grouped


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Operator(Node):
    """One step. Subclasses add what the user gave; ``on_error`` None means that of the run."""

    on_error: ErrorPolicy | None = None

    @property
    def groups(self) -> bool:
        """Whether a value that leaves may come from several records."""
        return False

    @property
    def holds(self) -> bool:
        """Whether values wait here for others, so that their offsets wait with them."""
        return False

    @property
    def splits(self) -> bool:
        """Whether several values, or none, may come of one."""
        return False

    @property
    def looks_at_records(self) -> bool:
        """Whether keys, headers or timestamps of records are wanted here."""
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


class Plan(Struct, frozen=True):
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
        return replace(self, steps=(*self.steps, step))


class Upstream(Struct, frozen=True):
    """What an operator is put onto: a flow, as far as plans need to know one."""

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
