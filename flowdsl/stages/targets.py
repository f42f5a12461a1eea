"""Sinks that are objects: opened once per run, when the first assignment needs them, and closed at its end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flowdsl.errors import refuse_awaitable
from flowdsl.stages.guard import first_error
from flowdsl.stages.site import Site

SiteOf = Callable[[str], Site]
"""How a failure of the method with that name is told."""


class Targets:
    """The targets of the sinks of one run, by step."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Any, SiteOf]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._open

    def __getitem__(self, name: str) -> Any:
        return self._open[name][0]

    def open(self, name: str, target: Any, site_of: SiteOf) -> None:
        """Open it, if it wants that. Raises StepFailed for what its ``open`` raises."""
        _call(target, "open", site_of)
        self._open[name] = target, site_of

    def close(self) -> BaseException | None:
        """Close all, the last one first. Each is tried; returns what was raised first."""
        open_now = [self._open.popitem()[1] for _ in list(self._open)]
        return first_error(*(partial(_call, target, "close", site_of) for target, site_of in open_now))


def _call(target: Any, name: str, site_of: SiteOf) -> None:
    method = getattr(target, name, None) if hasattr(target, "write") else None
    if method is None:
        return
    try:
        refuse_awaitable(method(), name)
    except Exception as error:
        raise site_of(name).failed(error) from error
