"""What to make of results that were computed elsewhere: the counterpart of a loop for calls that run concurrently."""

from __future__ import annotations

from itertools import compress
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.origins import kept
from flowdsl.stages.calls import Call, Role
from flowdsl.stages.ending import Delivered
from flowdsl.stages.kernel import Fusable, Unusable, refuse_awaitables


class CallResults(Fusable):
    """Finishes a call, given what its function returned for each value."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.step, call.handler)
        self._call = call

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        """What goes on. Raises Unusable, and then has changed nothing."""
        role = self._call.role
        if role is Role.FILTER:
            mask = results if set(map(type, results)) <= {bool} else _truth(results)
            passed = list(compress(chunk.values, mask))
            return self._call.settle(Chunk(passed, chunk.mark, kept(chunk.origins, mask, len(passed))))
        refuse_awaitables(results)
        return self._call.settle(chunk if role is Role.TAP else Chunk(results, chunk.mark, chunk.origins))

    def emitted(self, out: Chunk[Any]) -> int:
        """How many values left the step, for the statistics."""
        return out.count if isinstance(out, Delivered) else len(out.values)


def _truth(results: list[Any]) -> list[bool]:
    refuse_awaitables(results)
    mask: list[bool] = []
    for index, result in enumerate(results):
        try:
            mask.append(bool(result))
        except Exception as error:  # a user's __bool__
            raise Unusable(index, error) from error
    return mask
