"""What an open flow has in the place of ``run``."""

from __future__ import annotations

from flowdsl.errors import FlowNotClosedError, Problem
from flowdsl.plan.names import base_name
from flowdsl.plan.nodes import Upstream


class NeedsSink:
    """Stands where an open flow has nothing: reading it tells which sink to add."""

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, flow: Upstream | None, _: type) -> NeedsSink:
        if flow is None:
            return self
        last = flow.plan.steps[-1] if flow.plan.steps else flow.plan.source
        text = f"the flow is open and cannot {self._name}: end it with sink(function), with a broker's sink(topic), or with to_list()"
        raise FlowNotClosedError([Problem(text, base_name(last), last.where.file, last.where.line)])
