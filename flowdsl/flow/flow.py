"""What users hold: a flow that is still open, and one that ends in a sink.

A flow is a value. Nothing connects, starts or is registered before ``run``, and two runs share nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, overload

from reactivex import Observable

from flowdsl import compiler
from flowdsl.clock import Duration
from flowdsl.flow import running
from flowdsl.flow.commits import every
from flowdsl.flow.handle import RunHandle
from flowdsl.flow.needing import NeedsSink
from flowdsl.flow.observing import observable_of
from flowdsl.flow.previewing import Preview, preview
from flowdsl.plan.fragment import applied
from flowdsl.plan.hints import Z1, Z2, Z3, Z4, Z5, Z6, Out, T, T_co
from flowdsl.plan.nodes import Operator, Plan, Source, Upstream
from flowdsl.plan.policy import OnError
from flowdsl.plan.text import lines_of
from flowdsl.types import CommitPolicy

if TYPE_CHECKING:
    from flowdsl.interface.strategy import ProcessingStrategyFactory

ONCE_A_SECOND = every(seconds=1.0)


class Described(Upstream, frozen=True):
    """What open and closed flows have in common: they can be looked at."""

    def then(self, step: Operator) -> Upstream:
        """The flow with one more step; for operators, which call it."""
        plan = self.plan.then(step)
        return _closed(plan) if step.closes else _open(plan)

    def through(self, function: Callable[[Any], Any]) -> Upstream:
        """What the function makes of this flow."""
        result: Upstream = applied(function, self)
        return result

    def begin(self, source: Source) -> Upstream:
        """A flow without steps, for a branch."""
        return _open(Plan(source))

    def explain(self) -> str:
        """How this flow runs: steps, strategies, queues, where offsets are held, what happens to failing records."""
        return compiler.explain(self.plan)

    def check(self) -> None:
        """Raise one FlowDefinitionError with all the faults of this flow, if it has any."""
        compiler.check(self.plan)

    def preview(self, n: int = 10) -> Preview:
        """Read ``n`` records, without group or commit and without any sink, and show what comes out of each step."""
        return preview(self, n)

    def __repr__(self) -> str:
        return "\n".join(lines_of(self.plan))

    if not TYPE_CHECKING:  # for a type checker a flow has neither, so that it reports the line

        def __iter__(self) -> NoReturn:
            run = (
                "run it, flow.run()"
                if self.plan.closed
                else "end it with to_list() and run it, (flow | to_list()).run()"
            )
            msg = f"a flow is not iterable: {run}, or look at it with flow.preview()"
            raise TypeError(msg)


class Flow(Described, Generic[T_co], frozen=True):
    """A flow of values that nothing takes yet. ``flow | operator`` goes on; a sink makes a ``ClosedFlow`` of it.

    >>> from flowdsl import filter_, from_iterable, map_
    >>> from_iterable(range(3)) | filter_(lambda n: n) | map_(str)
    from_iterable(range(0, 3))
    | filter_(lambda)
    | map_(str)
    """

    def __or__(self: Flow[T], op: Callable[[Flow[T]], Out], /) -> Out:
        out: Out = applied(op, self)
        return out

    @overload
    def pipe(self: Flow[T], a: Callable[[Flow[T]], Z1], /) -> Z1: ...
    @overload
    def pipe(self: Flow[T], a: Callable[[Flow[T]], Z1], b: Callable[[Z1], Z2], /) -> Z2: ...
    @overload
    def pipe(self: Flow[T], a: Callable[[Flow[T]], Z1], b: Callable[[Z1], Z2], c: Callable[[Z2], Z3], /) -> Z3: ...
    @overload
    def pipe(
        self: Flow[T],
        a: Callable[[Flow[T]], Z1],
        b: Callable[[Z1], Z2],
        c: Callable[[Z2], Z3],
        d: Callable[[Z3], Z4],
        /,
    ) -> Z4: ...
    @overload
    def pipe(
        self: Flow[T],
        a: Callable[[Flow[T]], Z1],
        b: Callable[[Z1], Z2],
        c: Callable[[Z2], Z3],
        d: Callable[[Z3], Z4],
        e: Callable[[Z4], Z5],
        /,
    ) -> Z5: ...
    @overload
    def pipe(
        self: Flow[T],
        a: Callable[[Flow[T]], Z1],
        b: Callable[[Z1], Z2],
        c: Callable[[Z2], Z3],
        d: Callable[[Z3], Z4],
        e: Callable[[Z4], Z5],
        f: Callable[[Z5], Z6],
        /,
        *more: Callable[[Any], Any],
    ) -> Z6: ...
    def pipe(self, *operators: Callable[[Any], Any]) -> Any:
        """``flow.pipe(a, b)`` is ``flow | a | b``."""
        flow: Upstream = self
        for operator in operators:
            flow = flow.through(operator)
        return flow

    def to_observable(
        self: Flow[T],
        *,
        count: int | None = None,
        timeout: Duration | None = None,
        until: Literal["end"] | datetime | None = None,
        commit: CommitPolicy = ONCE_A_SECOND,
        on_error: OnError = "stop",
        stop_timeout: Duration = 20.0,
    ) -> Observable[T]:
        """This flow as an Observable of RxPY: cold, each subscription is a run of its own, in a thread of its own.

        ``on_next`` is called with one value at a time, and an offset moves when that of its value has returned: work that goes on
        behind it, on another scheduler, is not waited for. ``dispose`` is a clean stop: what was delivered is committed. What
        ``run`` would raise arrives in ``on_error``; the end, in ``on_completed``. The arguments are those of ``run``.

        >>> from flowdsl import from_iterable
        >>> from_iterable([1, 2, 3]).to_observable().run()
        3
        """
        bounds: dict[str, Any] = {"count": count, "timeout": timeout, "until": until}
        ends: dict[str, Any] = {"commit": commit, "on_error": on_error, "stop_timeout": stop_timeout}
        return observable_of(self, running.options(self, **bounds, **ends, progress=False))

    if not TYPE_CHECKING:
        run = NeedsSink()
        start = NeedsSink()
        compile = NeedsSink()


class ClosedFlow(Described, Generic[T_co], frozen=True):
    """A flow that ends in a sink and can run; the parameter is what ``run`` returns."""

    def run(
        self,
        *,
        count: int | None = None,
        timeout: Duration | None = None,
        until: Literal["end"] | datetime | None = None,
        commit: CommitPolicy = ONCE_A_SECOND,
        on_error: OnError = "stop",
        stop_timeout: Duration = 20.0,
        progress: bool = False,
    ) -> T_co:
        """Run here until a signal, the end of a bounded source, ``count`` records, or ``until``.

        ``until``: "end" for what is the end of the topics now, or an aware datetime. ``timeout`` in seconds ends the run
        as well; with ``count`` or ``until`` it is a deadline that raises RunTimeout. ``commit``: ``every(...)``,
        ``immediately`` or ``never``. ``on_error``: what happens to records that fail in steps that do not say.
        ``stop_timeout``: seconds in which a stop finishes what is under way, or raises StopTimeout. ``progress``: a bar on
        standard error. Returns ``Stats``, or the list of ``to_list``. Raises FlowDefinitionError for a flow with faults,
        StepFailed where a record fails and ``on_error`` is "stop", and BrokerError.
        """
        result: T_co = running.run(
            self,
            count=count,
            timeout=timeout,
            until=until,
            commit=commit,
            on_error=on_error,
            stop_timeout=stop_timeout,
            progress=progress,
        )
        return result

    def start(
        self,
        *,
        count: int | None = None,
        timeout: Duration | None = None,
        until: Literal["end"] | datetime | None = None,
        commit: CommitPolicy = ONCE_A_SECOND,
        on_error: OnError = "stop",
        stop_timeout: Duration = 20.0,
        progress: bool = False,
    ) -> RunHandle[T_co]:
        """Run in a thread of its own, with the arguments of ``run``; the handle waits for it and stops it."""
        handle: RunHandle[T_co] = running.start(
            self,
            count=count,
            timeout=timeout,
            until=until,
            commit=commit,
            on_error=on_error,
            stop_timeout=stop_timeout,
            progress=progress,
        )
        return handle

    def compile(self) -> ProcessingStrategyFactory[Any]:
        """The factory of strategies that ``run`` drives, for a loop of one's own. Raises what ``check`` raises."""
        return compiler.compile_plan(self.plan)

    if not TYPE_CHECKING:

        def __or__(self, op: Any) -> NoReturn:
            applied(op, self)  # raises: an operator behind a sink

        def pipe(self, *operators: Any) -> Any:
            """``flow.pipe()`` is the flow; anything more stands behind a sink and is refused."""
            for operator in operators:
                applied(operator, self)
            return self


def _open(plan: Plan) -> Flow[Any]:
    return Flow(plan)


def _closed(plan: Plan) -> ClosedFlow[Any]:
    return ClosedFlow(plan)
