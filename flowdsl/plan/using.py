"""A user's function that needs something opened first, as a value."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from msgspec import Struct

from flowdsl.errors import shown
from flowdsl.plan.hints import R_co, T_contra

if TYPE_CHECKING:
    from flowdsl.plan.hints import D, E

C = TypeVar("C")


class Using(Struct, Generic[T_contra, R_co], frozen=True):
    """``function(resource, value)``; ``resource()`` gives the context manager that opens it."""

    resource: Callable[[], Any]
    function: Callable[..., Any]

    def __call__(self, value: T_contra, /) -> R_co:
        """For type checkers: a step knows how to call it."""
        self._refuse(value)

    def _refuse(self, value: object) -> NoReturn:
        msg = f"using(...) is for steps: map_, filter_, flat_map, tap and sink open its resource; it was called with {shown(value)}"
        raise TypeError(msg)


def using(
    resource: Callable[[], AbstractContextManager[C, Any] | AbstractAsyncContextManager[C, Any]],
    f: Callable[[C, D], E],
) -> Using[D, E]:
    """Give ``f(resource, value)`` a resource that is opened before the first value and closed at the end of the run.

    ``resource`` is a function without arguments that gives a context manager, plain or async: a class such as
    ``httpx.AsyncClient``, or a function under ``@contextmanager``. It is opened once per run for ``async def``
    functions, in the event loop that uses it, and once per worker for plain ones: in each thread, in each process. It
    is closed also when the run fails. For ``map_``, ``filter_``, ``flat_map``, ``tap`` and ``sink``.

    >>> from contextlib import nullcontext
    >>> from flowdsl import from_iterable, map_, to_list, using
    >>> add = using(lambda: nullcontext(10), lambda ten, n: ten + n)
    >>> (from_iterable([1, 2]) | map_(add) | to_list()).run()
    [11, 12]
    """
    for name, value in (("resource", resource), ("f", f)):
        if not callable(value):  # pyright: ignore[reportUnnecessaryComparison]  # users without a type checker
            msg = f"{name} must be a function, not {shown(value)}"
            raise TypeError(msg)
    return Using(resource, f)
