"""What type checkers need to follow ``flow | operator``; nothing here does anything at run time.

An operator is generic in the type of its function (``F_co``) and types itself in its own ``__call__``, by the type of
``self``. The first overload of some takes functions of ``Nobody``, which only lambdas and functions of ``object`` can
be: so a lambda's untyped parameter binds no type of the flow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, final

if TYPE_CHECKING:
    import typing_extensions

    from flowdsl.flow.flow import ClosedFlow, Flow

    D = typing_extensions.TypeVar("D", default=Any)
    E = typing_extensions.TypeVar("E", default=Any)
    Z = typing_extensions.TypeVar("Z", bound="Flow[Any] | ClosedFlow[Any]", default=Any)

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
S = TypeVar("S")
X = TypeVar("X")
Y = TypeVar("Y", bound="Flow[Any] | ClosedFlow[Any]")
Out = TypeVar("Out", bound="Flow[Any] | ClosedFlow[Any]")
Z1 = TypeVar("Z1", bound="Flow[Any] | ClosedFlow[Any]")
Z2 = TypeVar("Z2", bound="Flow[Any] | ClosedFlow[Any]")
Z3 = TypeVar("Z3", bound="Flow[Any] | ClosedFlow[Any]")
Z4 = TypeVar("Z4", bound="Flow[Any] | ClosedFlow[Any]")
Z5 = TypeVar("Z5", bound="Flow[Any] | ClosedFlow[Any]")
Z6 = TypeVar("Z6", bound="Flow[Any] | ClosedFlow[Any]")
T_co = TypeVar("T_co", covariant=True)
S_co = TypeVar("S_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
X_contra = TypeVar("X_contra", contravariant=True)
Y_co = TypeVar("Y_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F", bound=Callable[[Any], Any])
F_co = TypeVar("F_co", bound=Callable[..., Any], covariant=True)
G = TypeVar("G", bound=Callable[[Any, Any], Any])
FI = TypeVar("FI", bound=Callable[[Any], Iterable[Any] | Awaitable[Iterable[Any]]])
FB = TypeVar("FB", bound=Callable[[Any], bytes | str])


class Hint1(Protocol):
    """Fulfilled by nothing: beside a type variable it gives the parameter of a lambda the type Any."""

    never: None

    def __call__(self, value: Any, /) -> Any: ...


class Hint2(Protocol):
    """The same for lambdas of two parameters."""

    never: None

    def __call__(self, state: Any, value: Any, /) -> Any: ...


@final
class Nobody:
    """The type of no value."""
