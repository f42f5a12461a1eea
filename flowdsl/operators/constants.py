"""The one word that stands for a value of the original record."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Inherit(Enum):
    """The type of ``INHERIT``; it has no other value."""

    INHERIT = "inherit"

    def __repr__(self) -> str:
        return self.name


INHERIT: Final = Inherit.INHERIT
"""Key, headers or timestamp of the record that a value came from; none where it came from several."""
