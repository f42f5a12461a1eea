"""What a flow makes of each record when nothing goes wrong: learned by running it, with one record and with all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from random import Random
from typing import Any

from attrs import evolve

from flowdsl.testing.simulation.faults import CALM, Dice, Weather
from flowdsl.testing.simulation.oracle import Atom, Expectations, Oracle, Trace, atoms_of, frozen_atom
from flowdsl.testing.simulation.rest import live_alone
from flowdsl.testing.simulation.scene import Scene
from flowdsl.testing.simulation.world import World
from flowdsl.types import Partition, Record


class Witness(Oracle):
    """Writes down what the sinks got; an oracle that expects nothing."""

    def __init__(self, trace: Trace | None) -> None:
        super().__init__(Expectations(()), trace, frozenset(), ordered=False)
        self.atoms: Counter[Atom] = Counter()

    def got(self, sink: str, output: Any, member: int, epochs: Mapping[Partition, int]) -> None:  # noqa: ARG002  # see Oracle
        self.atoms.update((sink, frozen_atom(value)) for value in atoms_of(output, self._trace))

    def committing(
        self,
        life: Callable[[Partition], Hashable],
        offsets: Mapping[Partition, int],
        owned: Collection[Partition],
        ends: Mapping[Partition, int],
    ) -> None:
        """A commit leaves."""

    def at_end(self) -> None:
        """All is over."""


def learn(scene: Scene, trace: Trace | None) -> tuple[Expectations, bool]:
    """What each record brings about, and whether that depends on it alone.

    Raises ValueError where outputs depend on several records and no ``trace`` tells on which.
    """
    scene = scene.endless
    alone = [_faultless(evolve(scene, records=[record]), trace) for record in scene.records]
    together = _faultless(scene, trace)
    total: Counter[Atom] = Counter()
    for atoms in alone:
        total.update(atoms)
    if total == together:
        return Expectations(alone), True
    if together <= total:
        return Expectations(_by_prefix(scene, trace)), False
    strange = next(iter(together - total))
    msg = (
        f"an output of {strange[0]!r} depends on several records ({strange[1]!r:.100}), so that nobody can tell which of them "
        "are done: give trace=, a function from an output to the records that it stands for"
    )
    raise ValueError(msg)


def _by_prefix(scene: Scene, trace: Trace | None) -> list[Counter[Atom]]:
    """What each record adds to what those before it brought about."""
    found: list[Counter[Atom]] = []
    before: Counter[Atom] = Counter()
    for count in range(1, len(scene.records) + 1):
        after = _faultless(evolve(scene, records=scene.records[:count]), trace)
        found.append(after - before)
        before = after
    return found


def _faultless(scene: Scene, trace: Trace | None) -> Counter[Atom]:
    random = Random(0)  # repeatable on purpose
    calm: dict[str, Any] = CALM
    weather = evolve(
        Weather.drawn(random), **calm, eager=False, commit_seconds=0.5, commit_messages=None, stop_timeout=60.0
    )
    witness = Witness(trace)
    world = World(scene, Dice(random, weather), witness, keeps_trace=False)
    live_alone(world)
    return witness.atoms


def spread(records: Sequence[Record[Any]], random: Random, partitions: int, *, freely: bool) -> list[Record[Any]]:
    """The records with partitions: as given, or at random where they depend on nothing but themselves."""
    if not freely:
        return list(records)
    return [evolve(record, partition=random.randrange(partitions)) for record in records]
