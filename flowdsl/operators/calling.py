"""What ``map_``, ``filter_``, ``tap`` and ``flat_map`` are: a function that is called with each value, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from attrs import frozen

from flowdsl.operators.slow import parts
from flowdsl.plan.concurrency import Concurrency
from flowdsl.plan.nodes import Operator
from flowdsl.stages.calls import Call, Role
from flowdsl.stages.parts import Build, Part


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Calling(Operator):
    """Steps that call a function with each value. ``slow``: how, unless it is called where it stands."""

    role: ClassVar[Role]
    """What comes of its result; steps whose results are several values lower themselves."""
    function: Callable[..., Any]
    slow: Concurrency | None = None

    def named_after(self) -> object:
        return self.function

    def lower(self, build: Build) -> tuple[Part, ...]:
        call = Call(build.step, build.handler, self.role, self.function)
        return parts(build, self.slow, call, self.function)
