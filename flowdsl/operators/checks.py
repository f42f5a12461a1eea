"""What users may give to an operator. Each check returns the value or raises, naming the argument and the value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from flowdsl.errors import shown
from flowdsl.plan.functions import innermost
from flowdsl.plan.using import Using


class Items(tuple[tuple[str, Any], ...]):
    """Settings as a value. Shows their names alone, since some of the values are secret."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name!r}: ...' for name, _ in self)}}}"


TAKE_SLOW = "map_, filter_, flat_map, tap and sink"


def what_is_called(value: object) -> Any:
    """The function inside a callable: of an object its ``__call__``."""
    inner = innermost(value)
    return inner if inspect.isroutine(inner) or isinstance(inner, type) else type(inner).__call__


def is_using(value: object) -> bool:
    """Whether it is what ``using`` returns."""
    return isinstance(value, Using)


def is_async(value: object) -> bool:
    """Whether it is ``async def``."""
    return inspect.iscoroutinefunction(what_is_called(value))


def function(value: object, name: str, *, lazy: bool = False, slow: bool = False) -> Callable[..., Any]:
    """A plain function. ``lazy``: a generator function is welcome, because its values are taken one by one.

    ``slow``: so are ``async def`` and ``using(...)``, because the step can run them.
    """
    if not callable(value):
        msg = f"{name} must be a function, not {shown(value)}"
        raise TypeError(msg)
    if is_using(value) and not slow:
        msg = f"{name} must be a plain function, not using(...), which {TAKE_SLOW} take"
        raise TypeError(msg)
    called = what_is_called(value)
    if inspect.isasyncgenfunction(called):
        msg = f"{name} must return its result, but {shown(value)} is an async generator: let it return a list, and use flat_map"
        raise TypeError(msg)
    if inspect.iscoroutinefunction(called) and not slow:
        msg = f"{name} must be a plain function, but {shown(value)} is async def, which {TAKE_SLOW} take"
        raise TypeError(msg)
    if inspect.isgeneratorfunction(called) and not lazy:
        msg = f"{name} must return its result, but {shown(value)} is a generator, whose values would be lost: use flat_map"
        raise TypeError(msg)
    return value


def initial(value: object, name: str) -> object:
    """An immutable value, or a function without arguments that gives a fresh one."""
    if callable(value):
        return supplier(value, name)
    if not _is_immutable(value):
        given = type(value).__name__
        msg = f"{name} must be an immutable value or a function that returns a fresh one, not {shown(value)}, which all would share: give a function, {given} or lambda: ..."
        raise TypeError(msg)
    return value


def _is_immutable(value: object) -> bool:
    """As far as that can be told: it hashes, and not by its identity while it has attributes or is used up."""
    try:
        hash(value)
    except TypeError:
        return False
    if type(value).__hash__ is not object.__hash__:
        return True
    has_attributes = bool(getattr(value, "__dict__", None)) or any(
        getattr(kind, "__slots__", ()) for kind in type(value).__mro__
    )
    return not has_attributes and not isinstance(value, Iterator)


def supplier(value: object, name: str) -> Callable[[], Any]:
    """A function that can be called without arguments."""
    plain = function(value, name, lazy=True)
    wrong = _refusal(plain, ())
    if wrong is not None:
        msg = f"{name} must be a function without arguments, but {shown(value)} takes some: {wrong}"
        raise TypeError(msg)
    return plain


def method(value: object, name: str, arguments: tuple[str, ...]) -> None:
    """A plain method that can be called with so many arguments."""
    wrong = _refusal(function(value, name), arguments)
    if wrong is not None:
        msg = f"{name} must be callable as {name}({', '.join(arguments)}), but {shown(value)} is not: {wrong}"
        raise TypeError(msg)


def _refusal(called: Callable[..., Any], arguments: tuple[str, ...]) -> TypeError | None:
    """Why these arguments do not fit; None where they do, and for a builtin that tells nothing of its arguments."""
    try:
        inspect.signature(called).bind(*arguments)
    except ValueError:
        return None
    except TypeError as wrong:
        return wrong
    return None


def aware(value: datetime, name: str) -> datetime:
    """A moment that tells its time zone."""
    if value.tzinfo is None:
        msg = f"{name} must be an aware datetime, such as datetime.now(UTC), but {value!r} has no time zone"
        raise ValueError(msg)
    return value


def choice(value: object, name: str, choices: tuple[str, ...]) -> Any:
    """One of these words."""
    if not isinstance(value, str) or value not in choices:
        msg = f"{name} must be {' or '.join(map(repr, choices))}, not {shown(value)}"
        raise ValueError(msg)
    return value


def settings(given: Mapping[str, Any] | Items | None) -> Items:
    """Settings as a value that compares and hashes, in alphabetical order; ``dict(...)`` gives them back."""
    try:
        items: dict[str, Any] = dict(given or ())
    except (TypeError, ValueError):
        msg = f"settings must be a mapping of librdkafka's names to values, not {shown(given)}"
        raise TypeError(msg) from None
    return Items(sorted(items.items(), key=lambda item: item[0]))
