"""A step as a failure names it."""

from __future__ import annotations

from msgspec import Struct

from flowdsl.errors import StepFailed, told


class Site(Struct, frozen=True):
    """A step: the user's function, and where it is defined."""

    name: str
    function: str
    file: str | None
    line: int | None

    def failed(self, error: BaseException) -> StepFailed:
        """What the function raised while no record was in hand. Raise it ``from error``."""
        return StepFailed(
            step=self.name,
            function=self.function,
            file=self.file,
            line=self.line,
            topic="",
            partition=-1,
            offset=-1,
            value=None,
            input=None,
            reason=f"{type(error).__name__}: {told(error)}",
            count=0,
        )
