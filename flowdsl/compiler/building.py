"""From a plan to running stages: every step is lowered, neighbours are fused, and what cannot be fused stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from flowdsl.compiler.fusing import Group, Lowered, segments
from flowdsl.operators.source import MergedSource, leaves
from flowdsl.plan.functions import defined_at, full_name
from flowdsl.plan.names import NamedPlan, Step
from flowdsl.plan.nodes import BranchInput, Node
from flowdsl.plan.policy import STOP, DeadLetter, ErrorPolicy, Retry, Skip
from flowdsl.stages.branches import Junction, Splitter
from flowdsl.stages.context import Run, StepContext
from flowdsl.stages.ends import Completion, Intake, Letters
from flowdsl.stages.failures import DeadLetters, Handler, Retrying
from flowdsl.stages.failures import Skip as SkipHandler
from flowdsl.stages.failures import Stop as StopHandler
from flowdsl.stages.ledger import Ledger
from flowdsl.stages.parts import Build, Part, Strategy
from flowdsl.stages.segment import Segment
from flowdsl.stages.site import Site
from flowdsl.types import Commit, Partition


class Builder:
    """Builds the stages of one assignment."""

    def __init__(
        self,
        plan: NamedPlan,
        run: Run,
        commit: Commit,
        partitions: Mapping[Partition, int],
        default: ErrorPolicy,
        default_letters: NamedPlan | None,
    ) -> None:
        self._plan, self._run, self._commit, self._partitions = plan, run, commit, partitions
        self._default, self._default_letters = default, default_letters
        self.ledger = Ledger()
        self._beside: list[Strategy] = []
        self._shared_letters: Strategy | None = None

    def build(self) -> Strategy:
        """The whole pipeline."""
        return self._pipeline(self._plan, Completion(self.ledger, self._commit))

    def _pipeline(self, plan: NamedPlan, completion: Completion) -> Strategy:
        first = self.plan(plan, self._run.instrument(completion, ()))
        return Intake(first, self.ledger, clock=self._run.clock, completion=completion, beside=self._beside)

    def plan(self, plan: NamedPlan, downstream: Strategy, first: int = 0) -> Strategy:
        """The steps of one plan in front of a stage. ``first``: the number of its first source in the whole flow."""
        steps = [Lowered(step.name, self._lower(step)) for step in plan.steps]
        if isinstance(plan.source, MergedSource):
            return self._merged(plan, plan.source, self._fused(steps, downstream), first)
        if isinstance(plan.source, BranchInput):  # no step of its own: it is not counted
            return self._fused(steps, downstream)
        source = plan.source.lower(self._context(plan.name, plan.source, self._default, None, ()))
        return self._fused([Lowered(plan.name, source), *steps], downstream)

    # -- lowering -------------------------------------------------------------------------------------------------

    def _lower(self, step: Step) -> tuple[Part, ...]:
        operator = step.operator
        policy = operator.on_error or self._default
        build = self._context(step.name, operator, policy, step.dead_letters, step.branches)
        return operator.lower(build)

    def _context(
        self,
        name: str,
        node: Node,
        policy: ErrorPolicy,
        letters: NamedPlan | None,
        branches: Sequence[NamedPlan],
    ) -> Build:
        # What branches deliver is counted in them, and a dead letter failed: it was not delivered.
        delivers = node.closes and not branches and not isinstance(self.ledger, Letters)
        count = self._run.count(name, drops=node.drops, ends=delivers)
        step = StepContext(site_of(name, node), self._run, self.ledger, count)
        handler = self._handler(policy, letters, step)

        def branch(index: int, downstream: Strategy) -> Strategy:
            return self.plan(branches[index], downstream)

        return Build(step, handler, branch, self._partitions, stops=policy.stops)

    def _handler(self, policy: ErrorPolicy, letters: NamedPlan | None, step: StepContext) -> Handler:
        if isinstance(policy, Retry):
            wait = partial(policy.wait, chance=self._run.random.random)
            return Retrying(wait, self._handler(policy.then, letters, step), self._run.clock)
        if isinstance(policy, Skip):
            return SkipHandler(step.count)
        if isinstance(policy, DeadLetter):
            return DeadLetters(step.count, self.ledger, self._letters(letters))
        return StopHandler()

    def _letters(self, plan: NamedPlan | None) -> Strategy:
        """The pipeline for dead letters: one for each step that has its own, and one for the policy of the run."""
        if plan is not None:
            return self._beside_pipeline(plan)
        if self._shared_letters is None:
            if self._default_letters is None:
                msg = "a dead letter policy without a plan"
                raise RuntimeError(msg)
            self._shared_letters = self._beside_pipeline(self._default_letters)
        return self._shared_letters

    def _beside_pipeline(self, plan: NamedPlan) -> Strategy:
        # Built with the policy "stop": a dead letter that fails must not become a dead letter.
        inner = Builder(plan, self._run, self._commit, self._partitions, STOP, None)
        inner.ledger = Letters(self.ledger)
        pipeline = inner._pipeline(plan, Completion(inner.ledger))
        self._beside.append(pipeline)
        return pipeline

    # -- putting together -----------------------------------------------------------------------------------------

    def _fused(self, steps: Sequence[Lowered], downstream: Strategy) -> Strategy:
        for group in reversed(segments(steps)):
            downstream = self._run.instrument(self._stage(group, downstream), group.names)
        return downstream

    def _stage(self, group: Group, downstream: Strategy) -> Strategy:
        if group.standing is not None:
            return group.standing.make(downstream)
        collector = None if group.collecting is None else group.collecting.collector
        clock, switch = self._run.clock, self._run.switch
        return Segment(group.kernels, downstream, switch=switch, clock=clock, collector=collector)

    def _merged(self, plan: NamedPlan, source: MergedSource, downstream: Strategy, first: int) -> Strategy:
        ends = Junction(len(plan.merged), downstream).ends()
        branches: list[Strategy] = []
        number = first
        for each, end in zip(plan.merged, ends, strict=True):
            branches.append(self.plan(each, end, number))
            number += len(leaves(each.source))
        return Splitter(source.divide(first), branches, clock=self._run.clock)


def site_of(name: str, node: Node) -> Site:
    """How a failure names a step: the user's function and where it is defined, or where the step was written."""
    function = node.fails_in()
    where = (defined_at(function) if function is not None else None) or node.where
    named = full_name(function) if function is not None else node.word
    return Site(name, named, where.file, where.line)
