"""Where the user wrote something: the first frame outside this package, and in a notebook the cell."""

from __future__ import annotations

import os
import sys
from typing import Any

from msgspec import Struct

PACKAGE = __file__.rpartition(f"plan{os.sep}")[0]
GENERATED = "<attrs generated"
"""How attrs names the code that it writes for our nodes: part of the package, though not a file of it."""


class Where(Struct, frozen=True):
    """A file, or a notebook's cell as IPython names it ("Cell In[3]"), and the line in it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def here() -> Where:
    """The line outside this package that led here."""
    frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a documented function; `inspect` reads source files
    while frame.f_back is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return Where(display_name(frame.f_code.co_filename), frame.f_lineno)


def is_ours(filename: str) -> bool:
    """Whether code with that file name belongs to this package."""
    return filename.startswith((PACKAGE, GENERATED))


def display_name(filename: str) -> str:
    """The file as people know it: for a notebook the cell, elsewhere the file itself."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    naming = getattr(getattr(shell, "compile", None), "format_code_name", None)
    named = naming(filename) if naming is not None else None
    return " ".join(named) if named else filename
