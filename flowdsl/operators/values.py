"""Values that come from no broker: of an iterable, and of an Observable."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import field, frozen
from reactivex.abc import ObservableBase

from flowdsl.errors import refuse_awaitable, shown
from flowdsl.operators.checks import supplier
from flowdsl.plan.functions import full_name
from flowdsl.plan.nodes import Source
from flowdsl.reactive.inbox import Inbox, Overflow


class ValuesSource(Source):
    """Values that come from no broker: they have no topic, and nothing of them is committed."""

    @property
    def is_bounded(self) -> bool:
        """Whether they come to an end by themselves."""
        return True

    @property
    def is_used_up(self) -> bool:
        """Whether they can be read once only."""
        return False

    @abstractmethod
    def open(self) -> Iterable[Any] | Inbox:
        """The values of one run, from the first one on."""


class Supply:
    """Gives the values of one ``from_iterable``, and knows whether an iterator was used up."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken = False

    def once(self, iterator: Iterator[Any], source: IterableSource) -> Iterator[Any]:
        """The iterator, the first time; an error afterwards, and for a generator that somebody else has read."""
        if self._taken or (inspect.isgenerator(iterator) and inspect.getgeneratorstate(iterator) == inspect.GEN_CLOSED):
            text = "its iterator was read by an earlier run, and cannot be read again: give a list, or a function that returns an iterator"
            raise source.fault(text)
        self._taken = True
        return iterator


def iterable_or_function(given: Any) -> Any:
    """What ``from_iterable`` takes."""
    if isinstance(given, Iterable):
        return given  # pyright: ignore[reportUnknownVariableType]  # of whatever the user has
    if callable(given):
        return supplier(given, "values")
    msg = f"values must be an iterable, or a function without arguments that returns one, not {shown(given)}"
    raise TypeError(msg)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class IterableSource(ValuesSource):
    """Values in memory: an iterable, or a function without arguments that returns one."""

    word = "from_iterable"
    apart = (*Source.apart, "supply")
    values: Iterable[Any] | Callable[[], Iterable[Any]]
    supply: Supply = field(factory=Supply)

    @property
    def is_used_up(self) -> bool:
        return isinstance(self.values, Iterator)

    def open(self) -> Iterator[Any]:
        """The values from the first one on. Raises FlowDefinitionError for an iterator that was opened before."""
        given: Any = self.values
        if isinstance(given, Iterator):  # and not a class whose instances are iterators
            return self.supply.once(given, self)  # pyright: ignore[reportUnknownArgumentType]  # of whatever the user has
        if isinstance(given, Iterable):
            return iter(given)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]  # as above
        values = given()
        refuse_awaitable(values, f"the function {full_name(given)} of from_iterable")
        if not isinstance(values, Iterable):
            msg = f"the function {full_name(given)} of from_iterable must return an iterable, but returned {shown(values)}"
            raise TypeError(msg)
        return iter(values)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]  # as above


def observable_of_rxpy(given: Any) -> Any:
    """What ``from_observable`` takes."""
    if isinstance(given, ObservableBase):
        return given  # pyright: ignore[reportUnknownVariableType]  # of whatever the user has
    hint = ": for an iterable there is from_iterable" if isinstance(given, Iterable) else ""
    msg = f"observable must be an Observable of reactivex, not {shown(given)}{hint}"  # pyright: ignore[reportUnknownArgumentType]  # of whatever the user has
    raise TypeError(msg)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ObservableSource(ValuesSource):
    """What an Observable emits while the flow runs."""

    word = "from_observable"
    observable: ObservableBase[Any]
    capacity: int = 1000
    overflow: Overflow = "block"

    @property
    def is_bounded(self) -> bool:
        """Nobody knows before it completes."""
        return False

    def open(self) -> Inbox:
        return Inbox(self.observable, self.capacity, self.overflow)
