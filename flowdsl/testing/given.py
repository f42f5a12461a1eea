"""The flow that a test tool is given."""

from __future__ import annotations

from typing import Any

from flowdsl.errors import shown
from flowdsl.flow.flow import ClosedFlow, Flow


def closed(flow: object) -> ClosedFlow[Any]:
    """A flow that ends in a sink and has no faults. Raises TypeError and FlowDefinitionError."""
    given: Any = flow
    if isinstance(flow, Flow):
        given.run  # noqa: B018  # raises, and says which sink to add
    if not isinstance(flow, ClosedFlow):
        msg = f"flow must be a flow that ends in a sink, not {shown(given)}"
        raise TypeError(msg)
    whole: ClosedFlow[Any] = given
    return whole
