"""``through``: a strategy written by hand in the middle of a flow, or at its end."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, overload

from attrs import frozen

from flowdsl.errors import FlowError, shown
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.plan.fragment import Fragment
from flowdsl.plan.hints import T, U
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Chaining
from flowdsl.stages.foreign import ForeignStage
from flowdsl.stages.foreign_ends import ForeignEnd, SelfCommit
from flowdsl.stages.parts import Build, Part, Standing, Strategy
from flowdsl.stages.passage import Passage
from flowdsl.types import Commit, Partition

if TYPE_CHECKING:
    from flowdsl.flow.flow import ClosedFlow, Flow
    from flowdsl.flow.stats import Stats


class StepFactory(Protocol[T, U]):
    """Makes a strategy that hands its results to ``downstream``."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int], downstream: ProcessingStrategy[U], /
    ) -> ProcessingStrategy[T]: ...


class EndFactory(Protocol[T]):
    """Makes a strategy that ends the flow, and commits by itself."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int], /
    ) -> ProcessingStrategy[T]: ...


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Through(Chaining):
    """What the strategies of a factory hand on; ``ends``: the factory has the form without ``downstream``."""

    word = "through"
    factory: Any
    ends: bool
    hidden = ("ends",)

    @property
    def closes(self) -> bool:
        return self.ends

    @property
    def looks_at_records(self) -> bool:
        return True

    def fails_in(self) -> object:
        return self.factory.create_with_partitions

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (Standing(ForeignStage, partial(self._stage, build)),)

    def _stage(self, build: Build, downstream: Strategy) -> Strategy:
        step, passage = build.step, Passage()
        end: ForeignEnd | SelfCommit
        if self.ends:
            end = SelfCommit(passage, step)
            strategy = self._made(end, build.partitions)
        else:
            end = ForeignEnd(passage, step, downstream, clock=step.clock)
            strategy = self._made(_refuse_commit, build.partitions, end)
        return ForeignStage(passage, step, build.handler, strategy, end, clock=step.clock)

    def _made(self, *arguments: Any) -> Strategy:
        strategy = self.factory.create_with_partitions(*arguments)
        if not callable(getattr(strategy, "submit", None)):
            msg = f"create_with_partitions of {shown(self.factory)} must return a strategy, but returned {shown(strategy)}"
            raise TypeError(msg)
        made: Strategy = strategy
        return made


def _refuse_commit(offsets: Mapping[Partition, int], force: bool = False) -> None:  # noqa: ARG001  # see Commit
    msg = (
        "a strategy in the middle of a flow must not commit: what it handed on is not done yet, and the flow commits it once it is. "
        "Leave the call out; what the strategy drops it hands on as a FilteredPayload"
    )
    raise FlowError(msg)


@overload
def through(
    factory: StepFactory[T, U], *, name: str | None = ..., on_error: OnError | None = ...
) -> Fragment[Flow[T], Flow[U]]: ...
@overload
def through(
    factory: EndFactory[T], *, name: str | None = ..., on_error: OnError | None = ...
) -> Fragment[Flow[T], ClosedFlow[Stats]]: ...
def through(factory: Any, *, name: str | None = None, on_error: OnError | None = None) -> Any:
    """Put a hand-written strategy into the flow.

    ``factory.create_with_partitions(commit, partitions, downstream)`` is called for every assignment, and the strategy
    hands its results to ``downstream``. The flow commits what comes of them once it is done, and ``commit`` raises FlowError
    here. With the form of two arguments it ends the flow and must commit by itself;
    then it cannot stand inside a branch. ``on_error`` is asked about records for which the strategy raises InvalidMessage;
    ``retry`` gives them to it again. Anything else that it raises ends the run.

    >>> from flowdsl import from_iterable, through, to_list
    >>> from flowdsl.strategies import RunTask
    >>> class Doubled:
    ...     def create_with_partitions(self, commit, partitions, downstream):
    ...         return RunTask(lambda message: 2 * message.payload, downstream)
    >>> (from_iterable([1, 2]) | through(Doubled()) | to_list()).run()
    [2, 4]
    """
    return Through(factory=factory, ends=_ends(factory), name=name, on_error=error_policy(on_error))


def _ends(factory: Any) -> bool:
    create = getattr(factory, "create_with_partitions", None)
    if isinstance(factory, type):
        msg = f"factory must be an instance, not the class {factory.__name__}: give {factory.__name__}(...)"
        raise TypeError(msg)
    if not callable(create):
        msg = f"factory must have create_with_partitions(commit, partitions, downstream), not be {shown(factory)}"
        raise TypeError(msg)
    signature = inspect.signature(create)
    for arguments, ends in ((3, False), (2, True)):
        try:
            signature.bind(*range(arguments))
        except TypeError:
            continue
        return ends
    msg = f"create_with_partitions of the factory must take (commit, partitions, downstream), or the first two to end the flow, not {signature}"
    raise TypeError(msg)
