"""What to call a user's function, and where it is defined. Nothing here calls one."""

from __future__ import annotations

import inspect
from functools import partial
from types import CodeType
from typing import Any, cast

from flowdsl.plan.using import Using
from flowdsl.plan.where import Where, display_name

LAMBDA = "<lambda>"


def innermost(function: Any) -> Any:
    """The function inside ``functools.partial`` and ``using``, however often it was wrapped."""
    while isinstance(function, partial | Using):
        function = function.function if isinstance(function, Using) else function.func  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]  # a user's partial
    return function  # pyright: ignore[reportUnknownVariableType]  # as above


def short_name(function: Any) -> str | None:
    """``parse`` for ``shop.parse``, the class for a callable object, None for a lambda."""
    inner = innermost(function)
    name = getattr(inner, "__name__", None) or type(inner).__name__
    return None if name == LAMBDA else str(name)


def full_name(function: Any) -> str:
    """``shop.parse``: the module and the name, as far as the function has them."""
    inner = innermost(function)
    named: Any = cast("Any", inner if hasattr(inner, "__qualname__") else type(inner))
    module = getattr(named, "__module__", None)
    return f"{module}.{named.__qualname__}" if module not in (None, "builtins") else str(named.__qualname__)


def defined_at(function: Any) -> Where | None:
    """Where the function is defined; None for one without source in Python."""
    inner = inspect.unwrap(innermost(function))
    if isinstance(inner, type):
        return _made_at(inner)
    code = getattr(inner, "__code__", None) or getattr(type(inner).__call__, "__code__", None)
    return Where(display_name(code.co_filename), code.co_firstlineno) if isinstance(code, CodeType) else None


def _made_at(kind: type) -> Where | None:
    """Where the code is that makes an object of this class, unless it was generated, as for a dataclass."""
    for name in ("__init__", "__new__"):
        code = getattr(vars(kind).get(name), "__code__", None)
        if isinstance(code, CodeType) and not code.co_filename.startswith("<"):
            return Where(display_name(code.co_filename), code.co_firstlineno)
    return None
