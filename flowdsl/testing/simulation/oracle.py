"""The oracle: what each record must bring about, and whether the sinks had it when its offset was committed.

It stands outside the flow: it knows the records, the broker's logs, and what reached the sinks, and nothing else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from flowdsl.errors import shown
from flowdsl.testing.simulation.outputs import Atom, Expectations, Trace, atoms_of, frozen_atom
from flowdsl.types import Partition

ALL_CHECKS = frozenset(
    {"lost", "ahead", "backward", "foreign", "overlap", "order", "twice", "bounded", "converges", "raised"}
)
"""``lost``: at the end the sinks have everything. ``ahead``: when an offset is committed they have all below it, and the
log has it. ``backward``: within an assignment a commit never goes back, and what is committed is not read again.
``foreign``: only owners commit. ``overlap``: one commit of a member at a time. ``order``: per partition, up to replays.
``twice``: the sinks get nothing again that was not read again. ``bounded``: what is in flight, every wait, and the time
without a read. ``converges``: once nothing goes wrong any more, all is delivered and committed, and who has to stop or to
give something up leaves nothing undone; whoever ends, whatever ended it, commits what it delivered if there is time.
``raised``: nobody dies of what nothing in the simulation did to it."""
MOST_IN_FLIGHT = 20_000


class Violation(Exception):  # noqa: N818  # never leaves the simulation
    """A promise was broken. ``trace``: the run, where it was written down."""

    def __init__(self, check: str, text: str, trace: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.check, self.trace = check, trace


class Ledger(Struct):
    """One partition as the oracle sees it: offsets and records in order, and how far they were proved to be done."""

    offsets: list[int] = field(default_factory=list[int])
    records: list[int] = field(default_factory=list[int])
    proved: int = 0


class Oracle:
    """Watches one run."""

    def __init__(self, expected: Expectations, trace: Trace | None, checks: frozenset[str], *, ordered: bool) -> None:
        self._expected, self._trace, self._checks = expected, trace, checks
        self._ordered = ordered and "order" in checks
        self._index = expected.index_of()
        self._position: dict[int, tuple[Partition, int]] = {}
        self.logs: dict[Partition, Ledger] = {}
        self.delivered: Counter[Atom] = Counter()
        self._needed: Counter[Atom] = Counter()
        self._last: dict[tuple[int, int, Partition, str], int] = {}
        self._times: Counter[tuple[int, int, Atom]] = Counter()
        self._committed: dict[Hashable, int] = {}
        self.replays = 0
        self._violation: Violation | None = None
        self._error: Exception | None = None

    def raise_violation(self) -> None:
        """Raise the first promise that was broken so far, if there is one, and what ``trace`` raised.

        It is found out deep inside the flow, which would take an exception for a failure of its own.
        """
        if self._error is not None:
            raise self._error
        if self._violation is not None:
            raise self._violation

    def broken(self, check: str, text: str, cause: BaseException | None = None) -> None:
        """Note a promise that was broken."""
        if self._violation is None and check in self._checks:
            self._violation = Violation(check, text)
            self._violation.__cause__ = cause

    def wrote(self, partition: Partition, offset: int, record: int) -> None:
        """The log has this record there."""
        log = self.logs.setdefault(partition, Ledger())
        self._position[record] = partition, len(log.offsets)
        log.offsets.append(offset)
        log.records.append(record)

    def got(self, sink: str, output: Any, member: int, epochs: Mapping[Partition, int]) -> None:
        """A sink has this output now."""
        for atom in self.named(sink, output):
            self.delivered[atom] += 1
            if atom in self._index:
                record = self._index[atom]
                partition, position = self._position[record]
                epoch = epochs.get(partition, 0)
                self._check_once(atom, record, member, epoch)
                if self._ordered:
                    self._check_order(sink, partition, position, member, epoch)

    def named(self, sink: str, output: Any) -> list[Atom]:
        """What an output stands for. What ``trace`` raises is kept for later: here it would look like the sink's."""
        try:
            return [(sink, frozen_atom(value)) for value in atoms_of(output, self._trace)]
        except Exception as error:  # noqa: BLE001  # a user's function
            self._error = self._error or error
            return []

    def _check_once(self, atom: Atom, record: int, member: int, epoch: int) -> None:
        key = member, epoch, atom
        self._times[key] += 1
        if self._times[key] > self._expected.most(record, atom):
            where = self._told(*self._position[record])
            self.broken("twice", f"{atom[0]} got {shown(atom[1])} again, but the record at {where} was not read again")

    def _check_order(self, sink: str, partition: Partition, position: int, member: int, epoch: int) -> None:
        key = member, epoch, partition, sink
        last = self._last.get(key, -1)
        if position < last:
            text = f"{sink} got the record at {self._told(partition, position)} after the one at {self._told(partition, last)}"
            self.broken("order", text)
        self._last[key] = position

    def in_flight(self, member: int, records: int) -> None:
        """So many records of a member are under way."""
        if records > MOST_IN_FLIGHT:
            self.broken("bounded", f"member {member} has {records} records in flight")

    def committing(
        self,
        life: Callable[[Partition], Hashable],
        offsets: Mapping[Partition, int],
        owned: Collection[Partition],
        ends: Mapping[Partition, int],
    ) -> None:
        """A commit leaves a member.

        ``life``: of which assignment; ``owned``: which partitions are its own just now; ``ends``: where the logs end.
        """
        for partition, offset in sorted(offsets.items()):
            key = life(partition)
            last = self._committed.get(key, 0)
            if offset < last:
                self.broken("backward", f"{partition} is to be committed at {offset} after {last}")
            self._committed[key] = offset
            if partition not in owned:
                self.broken(
                    "foreign", f"{partition} is to be committed at {offset} by a member that it is not assigned to"
                )
            if offset > ends[partition]:
                self.broken(
                    "ahead", f"{partition} is to be committed at {offset}, but its log ends at {ends[partition]}"
                )
            self._prove(partition, self.logs.setdefault(partition, Ledger()), offset)

    def _prove(self, partition: Partition, log: Ledger, offset: int) -> None:
        while log.proved < len(log.offsets) and log.offsets[log.proved] < offset:
            for atom, count in self._wanted_of(log.records[log.proved]).items():
                self._needed[atom] += count
                if self.delivered[atom] < self._needed[atom]:
                    where = self._told(partition, log.proved)
                    text = f"{partition} is committed at {offset}, but {atom[0]} never got {shown(atom[1])} of the record at {where}"
                    self.broken("ahead", text)
                    return
            log.proved += 1

    def seeking(self, life: Callable[[Partition], Hashable], offsets: Mapping[Partition, int]) -> None:
        """A member goes back to these offsets. ``life``: of which assignment."""
        for partition, offset in sorted(offsets.items()):
            committed = self._committed.get(life(partition), 0)
            if offset < committed:
                self.broken(
                    "backward", f"{partition} is to be read again from {offset}, but is committed at {committed}"
                )

    def left(self, member: int, epochs: Mapping[Partition, int], committed: Mapping[Partition, int]) -> None:
        """A member ended that had time for it: what it delivered of these, with all before it, is committed."""
        for partition, offset in sorted(committed.items()):
            done = self._delivered_from(partition, offset, member, epochs.get(partition, 0))
            if done > offset:
                text = f"member {member} ended in order and delivered {partition} up to {done}, but committed {offset}"
                self.broken("converges", text)

    def _delivered_from(self, partition: Partition, offset: int, member: int, epoch: int) -> int:
        """Behind the last record from there on that a member delivered, when it read last, with all before it."""
        log, done = self.logs.setdefault(partition, Ledger()), offset
        for position in range(bisect_left(log.offsets, offset), len(log.offsets)):
            wanted = self._wanted_of(log.records[position])
            if any(self._times[member, epoch, atom] < count for atom, count in wanted.items()):
                break
            done = log.offsets[position] + 1 if wanted else done
        return done

    def written(self, partition: Partition, start: int, stop: int) -> int:
        """How many records the log has between two offsets."""
        offsets = self.logs.setdefault(partition, Ledger()).offsets
        return bisect_left(offsets, stop) - bisect_left(offsets, start)

    def missing(self) -> str | None:
        """What the sinks should have of what was written so far, and do not."""
        wanted = self._wanted()
        atom = next((atom for atom, count in wanted.items() if self.delivered[atom] < count), None)
        return None if atom is None else f"{atom[0]} never got {shown(atom[1])}"

    def at_end(self) -> None:
        """All is over: nothing may be missing."""
        missing = self.missing()
        if missing is not None:
            self.broken("lost", missing)
        self.replays = sum(self.delivered.values()) - sum(self._wanted().values())

    def _wanted(self) -> Counter[Atom]:
        wanted: Counter[Atom] = Counter()
        for record in self._position:
            wanted.update(self._wanted_of(record))
        return wanted

    def _wanted_of(self, record: int) -> Counter[Atom]:
        """What a record must bring about; nothing more once it is a dead letter, as part of a group that failed."""
        letters = self._expected.instead[record] if self._expected.instead else ()
        is_letter = any(all(self.delivered[atom] >= count for atom, count in each.items()) for each in letters)
        return Counter() if is_letter else self._expected.atoms[record]

    def _told(self, partition: Partition, position: int) -> str:
        return f"{partition} offset {self.logs[partition].offsets[position]}"
