"""One value becomes many: what ``flat_map`` and ``unbatch`` do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from flowdsl.chunks import Chunk
from flowdsl.errors import refuse_awaitable, shown
from flowdsl.origins import expanded
from flowdsl.stages.kernel import CallKernel, Done


def all_of(result: Any) -> list[Any]:
    """All values of one result. Raises TypeError for an awaitable or no iterable, and what a lazy result raises."""
    if hasattr(result, "__await__"):
        refuse_awaitable(result)
    try:
        return [*result]
    except TypeError:
        if hasattr(result, "__iter__") or hasattr(result, "__getitem__"):
            raise  # a lazy result's own
        msg = f"an iterable is needed, whose values go on, but it is {shown(result)}"
        raise TypeError(msg) from None


class FlatMapKernel(CallKernel):
    """Each result is an iterable whose values go on. A record is the unit: all of them or, if it raises, none."""

    def apply(self, inputs: Iterator[Any], done: Done) -> None:
        function = self._function
        for value in inputs:
            done(all_of(function(value)))

    def finish(self, chunk: Chunk[Any], results: list[Any]) -> Chunk[Any]:
        values = list(chain.from_iterable(results))
        return Chunk(values, chunk.mark, expanded(chunk.origins, list(map(len, results)), len(values)))
