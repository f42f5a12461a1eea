"""What a flow makes of each record when nothing goes wrong: learned by running it, with one record and with all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from msgspec.structs import replace

from flowdsl.errors import shown
from flowdsl.plan.policy import DeadLetter, Skip
from flowdsl.testing.simulation.faults import CALM, MOST_AT_ONCE, Dice, Weather
from flowdsl.testing.simulation.oracle import Oracle, Violation
from flowdsl.testing.simulation.outputs import Atom, Expectations, Trace
from flowdsl.testing.simulation.rest import live_alone
from flowdsl.testing.simulation.scene import Scene
from flowdsl.testing.simulation.world import World
from flowdsl.types import Partition, Record


class Witness(Oracle):
    """Writes down what the sinks got; an oracle that expects nothing but that nobody dies."""

    def __init__(self, trace: Trace | None) -> None:
        super().__init__(Expectations(()), trace, frozenset({"raised"}), ordered=False)
        self.atoms: Counter[Atom] = Counter()

    def got(self, sink: str, output: Any, member: int, epochs: Mapping[Partition, int]) -> None:  # noqa: ARG002  # see Oracle
        self.atoms.update(self.named(sink, output))

    def committing(
        self,
        life: Callable[[Partition], Hashable],
        offsets: Mapping[Partition, int],
        owned: Collection[Partition],
        ends: Mapping[Partition, int],
    ) -> None:
        """A commit leaves."""

    def seeking(self, life: Callable[[Partition], Hashable], offsets: Mapping[Partition, int]) -> None:
        """A member goes back."""

    def left(self, member: int, epochs: Mapping[Partition, int], committed: Mapping[Partition, int]) -> None:
        """A member ends."""

    def missing(self) -> None:
        """Nobody knows yet."""

    def at_end(self) -> None:
        """All is over."""


def learn(scene: Scene, trace: Trace | None) -> tuple[Expectations, bool]:
    """What each record brings about, and whether that depends on it alone.

    Raises ValueError where nobody can tell which records an output, or what is missing, stands for.
    """
    scene = scene.endless
    alone = _each_alone(scene, trace)
    together = _faultless(scene, trace)
    _check_chunks(scene, trace, together)
    total = sum(alone, Counter[Atom]())
    letters: list[list[Counter[Atom]]] = []
    if scene.failing_groups(DeadLetter):
        letters = [_each_alone(each, trace, names) for each, names in scene.dead_letters()]
    strange = together - sum((atoms for each in letters for atoms in each), total)
    if strange:
        raise ValueError(_told_strange(next(iter(strange))))
    if letters:
        return Expectations(alone, list(zip(*letters, strict=True))), True
    if total == together and not scene.has_memory:
        return Expectations(alone), True
    return Expectations(_by_prefix(scene, trace)), False


def _check_chunks(scene: Scene, trace: Trace | None, together: Counter[Atom]) -> None:
    """However the records of one partition are read, what comes of them is the same. Raises Violation."""
    if scene.has_foreign or sum(scene.layout.values()) > 1:
        return
    singly = _faultless(scene, trace, most_at_once=1)
    if singly != together and _faultless(scene, trace) != together:
        msg = (
            "a function of the flow gives something else for the same value every time, so that outputs cannot be "
            "compared: give trace=, a function from an output to the records that it stands for"
        )
        raise ValueError(msg)
    for check, missing in (("lost", singly - together), ("twice", together - singly)):
        if missing:
            sink, value = next(iter(missing))
            text = (
                f"{sink} gets {shown(value)} {'only' if check == 'lost' else 'unless'} when records are read one by one"
            )
            raise Violation(check, text)


def _told_strange(strange: Atom) -> str:
    sink, value = strange
    return (
        f"an output of {sink!r} depends on several records, or on where a record stands ({value!r:.100}), so that nobody "
        "can tell which records are done: give trace=, a function from an output to the records that it stands for"
    )


def _each_alone(scene: Scene, trace: Trace | None, names: Mapping[str, str] | None = None) -> list[Counter[Atom]]:
    """What each record brings about by itself. ``names``: what to call the sinks."""
    called = names or {}
    return [
        Counter({(called.get(sink, sink), value): count for (sink, value), count in atoms.items()})
        for atoms in (_faultless(replace(scene, records=[record]), trace) for record in scene.records)
    ]


def _by_prefix(scene: Scene, trace: Trace | None) -> list[Counter[Atom]]:
    """What each record adds to what those before it brought about."""
    found: list[Counter[Atom]] = []
    before: Counter[Atom] = Counter()
    for count in range(1, len(scene.records) + 1):
        after = _faultless(replace(scene, records=scene.records[:count]), trace)
        found.append(after - before)
        before = after
    return found


def _faultless(scene: Scene, trace: Trace | None, *, most_at_once: int = MOST_AT_ONCE) -> Counter[Atom]:
    witness, world = _world(scene, trace, most_at_once, keeps_trace=False)
    try:
        counts = live_alone(world)
    except Violation as violation:
        _, again = _world(scene, trace, most_at_once, keeps_trace=True)
        with suppress(Violation):
            live_alone(again)
        raise Violation(violation.check, str(violation), again.trace or ()) from violation.__cause__
    for step in scene.failing_groups(Skip):
        if step in counts and counts[step].failed:
            msg = f"the step {step!r} skips whole groups, so that nobody can tell what was skipped from what was lost: use dead_letter(...)"
            raise ValueError(msg)
    return witness.atoms


def _world(scene: Scene, trace: Trace | None, most_at_once: int, *, keeps_trace: bool) -> tuple[Witness, World]:
    random = Random(0)  # repeatable on purpose
    weather = replace(
        Weather.drawn(random), **CALM, eager=False, commit_seconds=0.5, commit_messages=None, stop_timeout=60.0
    )
    witness, dice = Witness(trace), Dice(random, weather)
    dice.most_at_once, dice.flushes = most_at_once, False  # what is written will have to be flushed
    return witness, World(scene, dice, witness, keeps_trace=keeps_trace)


def spread(records: Sequence[Record[Any]], random: Random, partitions: int, *, freely: bool) -> list[Record[Any]]:
    """The records with partitions: as given, or at random where they depend on nothing but themselves."""
    if not freely:
        return list(records)
    return [replace(record, partition=random.randrange(partitions)) for record in records]
