"""``sink``: a function, or an object with ``write``, at the end of a flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import IOBase
from typing import TYPE_CHECKING, Any, Generic, Protocol, overload

from attrs import frozen
from msgspec.structs import replace

from flowdsl.clock import Duration
from flowdsl.errors import shown
from flowdsl.operators import checks
from flowdsl.operators.slow import Asked, Scheduler, concurrency_of, parts
from flowdsl.plan.concurrency import Concurrency
from flowdsl.plan.fragment import Fragment
from flowdsl.plan.functions import defined_at, full_name
from flowdsl.plan.hints import F, F_co, Hint1, T, T_contra
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Chaining, put
from flowdsl.stages.ending import SinkCall
from flowdsl.stages.parts import Build, Collecting, Part
from flowdsl.stages.site import Site
from flowdsl.stages.writing import FlushGate, WriteKernel

if TYPE_CHECKING:
    from flowdsl.flow.flow import ClosedFlow, Flow
    from flowdsl.flow.stats import Stats


METHODS = {"open": (), "write": ("values",), "flush": (), "close": ()}
"""What is called of a sink that is an object, with which arguments."""


class Writer(Protocol[T_contra]):
    """Takes values in chunks of its own choice of work. May also have ``open()``, ``flush()`` and ``close()``."""

    def write(self, values: Sequence[T_contra], /) -> object: ...


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Sink(Chaining, Generic[F_co]):
    """The target is called with each value, or its ``write`` with whatever has arrived."""

    word = "sink"
    target: Any
    slow: Concurrency | None = None

    @property
    def closes(self) -> bool:
        return True

    @property
    def writes(self) -> bool:
        """Whether the target is an object with ``write``, and not a function."""
        return hasattr(self.target, "write")

    def __call__(self: Sink[Callable[[T], object]], up: Flow[T], /) -> ClosedFlow[Stats]:
        closed: ClosedFlow[Stats] = put(self, up)
        return closed

    def lower(self, build: Build) -> tuple[Part, ...]:
        step, handler = build.step, build.handler
        target = step.run.sink(step.name, self.target, lambda method: self._site_of(method, step.site))
        if not hasattr(target, "write"):
            return parts(build, self.slow, SinkCall(step, handler, target), target)
        flush = getattr(target, "flush", None)
        gate = FlushGate(replace(step, site=self._site_of("flush", step.site)), flush)
        return (WriteKernel(step, handler, target.write, stops=build.stops), Collecting(gate))

    def _site_of(self, name: str, sink: Site) -> Site:
        """How a failure of that method is told; of the sink where it has none."""
        method = getattr(self.target, name, None)
        if method is None:
            return sink
        where, named = defined_at(method), replace(sink, function=full_name(method))
        return named if where is None else replace(named, file=where.file, line=where.line)

    def named_after(self) -> object:
        return None if self.writes else self.target

    def fails_in(self) -> object:
        return self.target.write if self.writes else self.target


@overload
def sink(
    target: Writer[T], *, name: str | None = ..., on_error: OnError | None = ...
) -> Fragment[Flow[T], ClosedFlow[Stats]]: ...
@overload
def sink(
    target: F | Hint1,
    *,
    concurrency: int | None = ...,
    scheduler: Scheduler | None = ...,
    ordered: bool = ...,
    key: Callable[[Any], object] | None = ...,
    timeout: Duration | None = ...,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Sink[F]: ...
def sink(
    target: Any,
    *,
    concurrency: int | None = None,
    scheduler: Scheduler | None = None,
    ordered: bool = True,
    key: Callable[[Any], object] | None = None,
    timeout: Duration | None = None,
    name: str | None = None,
    on_error: OnError | None = None,
) -> Any:
    """End the flow in a function or an object; ``run`` returns ``Stats``.

    A function is called with value by value. An object has ``write(values)``, called with a sequence of whatever has
    arrived, and optionally ``open()``, ``flush()`` and ``close()``; offsets move after ``flush``. After a crash, values
    that were not done come again. A stop waits for the call in hand: of a function that is one value, of ``write`` all
    that it was given, which is about what took it 50 ms before.

    ``concurrency``, ``scheduler``, ``ordered``, ``key``, ``timeout``: as for ``map_``, and for functions only.

    >>> from flowdsl import from_iterable, sink
    >>> (from_iterable("ab") | sink(print)).run().delivered
    a
    b
    2
    """
    checked = _target(target)
    slow = concurrency_of(checked, Asked(concurrency, scheduler, ordered, key, timeout))
    if slow is not None and hasattr(checked, "write"):
        msg = "concurrency is for functions: an object's write gets whatever has arrived, at once"
        raise ValueError(msg)
    node: Sink[Any] = Sink(target=checked, slow=slow, name=name, on_error=error_policy(on_error))
    return node


def _target(target: Any) -> Any:
    if isinstance(target, type):
        msg = f"target must be a function or an object with write, not the class {target.__name__}: give an instance, {target.__name__}(...)"
        raise TypeError(msg)
    if isinstance(target, IOBase) or (hasattr(target, "write") and hasattr(target, "writelines")):
        msg = f"target must not be a file, whose write does not take several values: give a function, lambda value: file.write(...). It is {shown(target)}"
        raise TypeError(msg)
    if not callable(getattr(target, "write", None)):
        if not callable(target):
            msg = f"target must be a function or an object with write(values), not {shown(target)}"
            raise TypeError(msg)
        return checks.function(target, "target", slow=True)
    for method, arguments in METHODS.items():
        if getattr(target, method, None) is not None:
            checks.method(getattr(target, method), f"target.{method}", arguments)
    return target
