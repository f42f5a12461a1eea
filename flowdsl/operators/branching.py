"""What operators with branches share: how branches are built, and that they all end or all go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

from attrs import evolve, frozen

from flowdsl.chunks import Chunk
from flowdsl.errors import shown
from flowdsl.origins import NOTHING
from flowdsl.plan.branch import Branch
from flowdsl.plan.nodes import BranchInput, Upstream
from flowdsl.plan.shapes import Chaining
from flowdsl.stages.branches import Divide, Junction, Splitter
from flowdsl.stages.parts import Build, Strategy


def branch(label: str, operator: object) -> Branch:
    """A branch that is not built yet."""
    if not callable(operator):
        what = shown(operator)
        hint = ": give the branches one by one, broadcast(a, b)" if isinstance(operator, list | tuple) else ""
        msg = f"the branch {label} must be an operator, a sink or a fragment, not {what}{hint}"
        raise TypeError(msg)
    function: Callable[[Any], Any] = operator
    return Branch(label, function)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Branching(Chaining):
    """Steps that hand values to branches. ``ways``: the branches, in the order in which they were written."""

    hidden: ClassVar[tuple[str, ...]] = ("ways",)
    ways: tuple[Branch, ...]

    @property
    def branches(self) -> tuple[Branch, ...]:
        return self.ways

    @property
    def closes(self) -> bool:
        """Whether the branches end in sinks; before they are built, as far as that can be told."""
        return all(each.closed for each in self.ways)

    @property
    def groups(self) -> bool:
        return any(each.built is not None and each.built.groups for each in self.ways)

    def grown(self, up: Upstream) -> Self:
        """Raises FlowDefinitionError if some branches end in a sink and others do not."""
        source = BranchInput(grouped=up.plan.groups, where=self.where)
        built = tuple(each.grown(up, source) for each in self.ways)
        closed = [each.label for each in built if each.plan.closed]
        if closed and len(closed) < len(built):
            goes_on = ", ".join(each.label for each in built if not each.plan.closed)
            text = f"either all branches end in a sink or none does: {', '.join(closed)} of {self.word} ends in one, {goes_on} does not"
            raise self.fault(text)
        return evolve(super().grown(up), ways=built)


def split(build: Build, divide: Divide, downstream: Strategy) -> Strategy:
    """The branches of a step in front of what comes after them all."""
    count = len(divide(Chunk([], 0, NOTHING)))
    ends = Junction(count, downstream).ends()
    return Splitter(divide, [build.branch(index, end) for index, end in enumerate(ends)], clock=build.step.clock)


def counted(build: Build, divide: Divide) -> Divide:
    """The same, counting what passes."""
    count = build.step.count

    def divided(chunk: Chunk[Any]) -> Sequence[Chunk[Any]]:
        count.received += len(chunk)
        count.emitted += len(chunk)
        return divide(chunk)

    return divided
