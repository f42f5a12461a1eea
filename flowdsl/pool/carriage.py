"""What travels to worker processes and back: functions, values, exceptions, and what is said of those that cannot."""

from __future__ import annotations

import inspect
import pickle
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import cloudpickle  # type: ignore[import-untyped]  # comes without types

from flowdsl.errors import FlowError, shown, told
from flowdsl.pool.worker import Raised, dumps

_REGISTERING = threading.Lock()
"""Held while a module is registered with cloudpickle, which has one register for all threads."""

DEPTH = 12
"""How deep into an object is looked for what cannot be pickled."""


class RemoteTraceback(Exception):  # noqa: N818  # as the standard library names it
    """The traceback of an exception as the worker saw it; stands as its ``__cause__``."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(FlowError):
    """Stands for an exception that was raised in a worker and cannot be pickled; tells its type and what it said."""


class CannotTravel(TypeError):  # noqa: N818  # named for what is wrong
    """A function that cannot be sent to worker processes; tells which, what of it is to blame, and where it is defined."""


class NotLoaded(Exception):  # noqa: N818  # named for what happened
    """A worker could not load a function that was sent; the argument is what it raised."""


def raised(sent: Raised) -> BaseException:
    """The exception that a worker sent, with its traceback as the cause."""
    error: BaseException | None = None
    if sent.pickled is not None:
        try:
            loaded = pickle.loads(sent.pickled)  # noqa: S301  # from our own worker
            error = loaded if isinstance(loaded, BaseException) else None
        except Exception:  # noqa: BLE001  # whatever a user's exception does when it is unpickled
            error = None
    if error is None:
        error = RemoteError(f"{sent.kind}: {sent.message} (the exception itself cannot be pickled)")
    error.__cause__ = RemoteTraceback(_with_file(sent.traceback))
    return error


def _with_file(text: str) -> str:
    """Cloudpickle leaves out where functions of the main module are from; in a script that is one file."""
    main: str | None = getattr(sys.modules.get("__main__"), "__file__", None)
    return text if main is None else text.replace('File "<dynamic-code>"', f'File "{main}"')


def packed(function: Callable[..., Any], *, about: object = None, with_module: bool = False) -> bytes:
    """A function as it travels. Raises CannotTravel.

    ``about``: the function as the user knows it, where something is wrapped around it. ``with_module``: as if it were defined in the main module, where its own cannot be imported by workers.
    """
    known = function if about is None else about
    try:
        with _by_value(_module_of(known) if with_module else None):
            return dumps(function)
    except Exception as error:
        place = "".join(f"{name}, " for name in _path_to_fault(function if _travels(known) else known))
        text = (
            f"{_described(known)} cannot be sent to worker processes: {place}{type(error).__name__}: {told(error)}. "
            "Open what cannot travel where it is used: using(resource, f), an initializer, or inside the function"
        )
        raise CannotTravel(text) from error


def unloadable(function: object, not_loaded: NotLoaded) -> CannotTravel:
    """What becomes of a function that was pickled and cannot be loaded by a worker."""
    (error,) = not_loaded.args
    text = f"{_described(function)} cannot be loaded by worker processes: {type(error).__name__}: {told(error)}"
    return CannotTravel(text)


def unfit(value: object, error: BaseException) -> TypeError:
    """What becomes of a value that cannot be pickled."""
    text = f"the value cannot be sent to a worker process: {type(error).__name__}: {told(error)}; it is {shown(value)}"
    return TypeError(text)


def unreadable(what: str, error: BaseException) -> TypeError:
    """What becomes of a value that was pickled and cannot be unpickled on the other side."""
    return TypeError(f"the {what} cannot be unpickled: {type(error).__name__}: {told(error)}")


def _module_of(function: object) -> ModuleType | None:
    inner = _innermost(function)
    module = sys.modules.get(getattr(inner, "__module__", None) or "")
    return None if module is None or module.__name__ == "__main__" else module


@contextmanager
def _by_value(module: ModuleType | None) -> Generator[None]:
    if module is None:
        yield
        return
    with _REGISTERING:
        cloudpickle.register_pickle_by_value(module)  # pyright: ignore[reportUnknownMemberType]  # comes without types
        try:
            yield
        finally:
            cloudpickle.unregister_pickle_by_value(module)  # pyright: ignore[reportUnknownMemberType]  # as above


# -- what is to blame -------------------------------------------------------------------------------------------------


def _described(function: object) -> str:
    inner = _innermost(function)
    name = getattr(inner, "__qualname__", None) or shown(function)
    code = getattr(inner, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if isinstance(code, CodeType) else ""
    return f"{name}{where}"


def _innermost(function: object) -> object:
    while isinstance(function, partial | MethodType):
        function = cast("object", function.func if isinstance(function, partial) else function.__func__)
    return inspect.unwrap(function) if callable(function) else function


def _path_to_fault(value: object) -> list[str]:
    """From a function down to the part that cannot be pickled, in words."""
    path: list[str] = []
    while len(path) < DEPTH:
        fault = next(((name, part) for name, part in _parts(value) if not _travels(part)), None)
        if fault is None:
            return path
        path.append(fault[0])
        value = fault[1]
    return path


def _travels(value: object) -> bool:
    try:
        dumps(value)
    except Exception:  # noqa: BLE001  # whatever a user's class does when it is pickled
        return False
    return True


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, MethodType):
        yield "the object that it is bound to", value.__self__
    elif isinstance(value, partial):
        yield "the function in it", cast("object", value.func)
        yield from ((f"its argument {index}", part) for index, part in enumerate(value.args))
        yield from ((f"its argument {name!r}", part) for name, part in value.keywords.items())
    elif isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        yield from ((f"the item {shown(key)}", part) for key, part in mapping.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"the item {index}", part) for index, part in enumerate(cast("list[object]", value)))
    else:
        yield from ((f"the attribute {name!r}", part) for name, part in getattr(value, "__dict__", {}).items())
        yield from ((f"its {name}", getattr(value, name, None)) for name in _slots(type(value)))


def _slots(kind: type) -> Iterator[str]:
    for each in kind.__mro__:
        slots: str | Iterable[str] = vars(each).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"the variable {name!r} that it closes over", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield "a default of its arguments", default
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield f"the global {name!r} that it uses", function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    """The names of globals that a function and those inside it use, and of attributes, which do no harm."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
