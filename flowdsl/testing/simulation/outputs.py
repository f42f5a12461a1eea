"""What an output stands for: the sink, and the records that it names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, cast

from msgspec import Struct

from flowdsl.brokers.protocols import Outgoing
from flowdsl.testing.virtual import BEGINNING
from flowdsl.types import Record

Trace = Callable[[Any], Any]
Atom = tuple[str, Hashable]
"""The sink, and what it got, as far as it names records."""


def atoms_of(output: Any, trace: Trace | None) -> list[Any]:
    """What an output is made of: lists flattened, or the records that ``trace`` names."""
    if isinstance(output, Outgoing) and trace is None:
        headers = [header for header in output.headers if not header[0].startswith("flowdsl-")]  # these tell of places
        timestamp = None if output.timestamp == BEGINNING else output.timestamp  # that of records which were given none
        is_plain = not (output.key or headers or timestamp)
        return [output.value if is_plain else (output.value, output.key, *headers, timestamp)]
    if isinstance(output, Outgoing):
        output = output.value
    if trace is not None:
        named = trace(output)
        return [*named] if isinstance(named, Iterable) and not isinstance(named, str | bytes | dict) else [named]
    if isinstance(output, Record):
        record: Record[Any] = output  # pyright: ignore[reportUnknownVariableType]  # a user's own
        return [(record.topic, record.key, frozen_atom(record.value), record.headers)]  # wherever it stands
    if isinstance(output, list | tuple):
        parts = cast("Sequence[Any]", output)
        return [atom for each in parts for atom in atoms_of(each, None)]
    return [output]


def frozen_atom(value: Any) -> Hashable:
    """Something that can be counted."""
    try:
        hash(value)
    except TypeError:
        return f"{type(value).__name__} {value!r}"
    atom: Hashable = value
    return atom


class Expectations(Struct, frozen=True):
    """What the flow makes of each record, learned from runs without faults. ``atoms``: one Counter for each record.

    ``instead``: for each record what it may bring about instead, where it fails together with the group that it is in:
    one Counter for each place that has dead letters. Empty where that does not happen.
    """

    atoms: Sequence[Counter[Atom]]
    instead: Sequence[Sequence[Counter[Atom]]] = ()

    def index_of(self) -> dict[Atom, int]:
        """The one record that an atom comes from; atoms of several records are left out."""
        found: dict[Atom, int] = {}
        several: set[Atom] = set()
        for index, atoms in enumerate(self.atoms):
            for atom in {atom for each in (atoms, *self._letters(index)) for atom in each}:
                if atom in found:
                    several.add(atom)
                found[atom] = index
        return {atom: index for atom, index in found.items() if atom not in several}

    def most(self, record: int, atom: Atom) -> int:
        """How often a sink may get this of a record that is read once."""
        return max(each[atom] for each in (self.atoms[record], *self._letters(record)))

    def _letters(self, record: int) -> Sequence[Counter[Atom]]:
        return self.instead[record] if self.instead else ()
