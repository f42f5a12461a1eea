"""The steps of a flow as a tree of stages, for ``explain``."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from attrs import evolve
from msgspec import Struct
from msgspec.structs import replace

from flowdsl.compiler.layout import INDENT, LONGEST_NAME, WIDTH, filled
from flowdsl.compiler.outline import Outline, Place, Stage, Way
from flowdsl.compiler.remarks import BY_DEFAULT, on_error, remarks
from flowdsl.plan.nodes import Node, Operator
from flowdsl.plan.text import call_of

DEEPEST = 24
"""Branches within branches are not indented further."""
POLICY = 15
"""Columns for what happens on an error."""
FUSED = (
    "Steps of one stage are fused: nothing waits between them. Before the first stage, Intake numbers the records; "
    "behind the last, Completion notes that they are done. On the right: what happens to a record that fails."
)
OPEN = "(no sink yet: to run it, end it with sink(f), a broker's sink(topic) or to_list())"


def steps(told: Outline, *, closed: bool) -> Iterator[str]:
    """The tree; what runs beside the flow stands at the end."""
    tree = _Tree(min(LONGEST_NAME, max((len(place.name) for place in told.all_places()), default=0)))
    yield from filled(FUSED)
    yield from tree.way(told.flow, INDENT)
    if not closed:
        yield from filled(OPEN)
    for name, way in told.dead_letters:
        yield from filled(f"dead letters of {name}, in a pipeline of their own:")
        yield from replace(tree, beside=True).way(way, 2 * INDENT)


class _Tree(Struct, frozen=True):
    """The steps as a tree of stages. ``name``: how wide the column of names is; ``beside``: those of dead letters."""

    name: int
    beside: bool = False

    def way(self, way: Way, indent: int) -> Iterator[str]:
        for merged in way.merged:
            yield from self._labelled(f"flow {merged.label}", merged, indent)
        if way.merged:
            yield from filled("merged, in the order in which values come:", indent)
        for stage in way.stages:
            yield from self._stage(stage, indent)

    def _labelled(self, label: str, way: Way, indent: int) -> Iterator[str]:
        yield from filled(f"{label}:", indent)
        yield from self.way(way, min(indent + INDENT, DEEPEST))
        if not way.stages and not way.merged:
            yield from filled("(no steps)", min(indent + INDENT, DEEPEST))

    def _stage(self, stage: Stage, indent: int) -> Iterator[str]:
        fused = f": {len(stage.places)} steps fused" if len(stage.places) > 1 else ""
        yield from filled(f"stage {stage.number}, {stage.kind.__name__}{fused}", indent)
        for place in stage.places:
            yield from self._place(place, stage, min(indent + INDENT, DEEPEST))
            for branch in place.branches:
                yield from self._labelled(f"branch {branch.label}", branch, min(indent + 2 * INDENT, DEEPEST))
            if place.branches and not place.node.closes:
                yield from filled("What leaves the branches goes on together.", min(indent + INDENT, DEEPEST))

    def _place(self, place: Place, stage: Stage, indent: int) -> Iterator[str]:
        name, begin = place.name, indent + self.name + 2
        said = list(remarks(place.node)) if place.ends else [f"goes on in stage {stage.number + 1}"]
        room = WIDTH - begin - POLICY - 1
        if place.begins:
            call = wrap(_call(place.node), room)
        else:
            call = wrap(said.pop(0) if said else "goes on", WIDTH - begin)
        if len(name) > self.name:
            yield from filled(name, indent)
            name = ""
        for at, line in enumerate(call):
            policy = self._policy(place.node) if place.begins and at == 0 else ""
            yield f"{' ' * indent}{name if at == 0 else '':<{self.name}}  {line:<{room}} {policy}".rstrip()
        for text in said:
            yield from filled(text, begin, "- ")

    def _policy(self, node: Node) -> str:
        """A dead letter that fails ends the run, whatever that is told to do with others."""
        policy = on_error(node)
        return "stop" if self.beside and policy == BY_DEFAULT else policy


def _call(node: Node) -> str:
    """What the user typed, without what stands beside it anyway."""
    return call_of(evolve(node, name=None, on_error=None) if isinstance(node, Operator) else evolve(node, name=None))
