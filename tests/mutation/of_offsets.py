"""Mutants of what is done once a value is: marks, groups, ledgers, passages."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

OFFSETS = (
    Mutant(
        "a chunk completes what comes behind it",
        "2: a group of records carries exactly the offsets it completes",
        "chunks.py",
        "return Chunk(self.values[:stop], min(self.origins.low(stop), self.mark), self.origins.part(0, stop))",
        "return Chunk(self.values[:stop], self.mark, self.origins.part(0, stop))",
    ),
    Mutant(
        "a group completes what is still held",
        "2: a group of records carries exactly the offsets it completes",
        "stages/grouping.py",
        "mark = chunk.mark if start == end else min(chunk.mark, chunk.origins.low(start))",
        "mark = chunk.mark",
    ),
    Mutant(
        "a filtered offset overtakes a held group",
        "2: filtered and empty results never overtake data that is still held",
        "stages/grouping.py",
        "return () if self._values else (chunk,)",
        "return (chunk,)",
    ),
    Mutant(
        "commits do not wait for what is done",
        "1: a committed offset means that every lower record is done",
        "stages/ledger.py",
        "return min(self._reached, *self._held) if self._held else self._reached",
        "return self.accepted",
    ),
    Mutant(
        "dead letters do not hold their offsets",
        "1: a dead letter is acknowledged before the offset moves",
        "stages/ledger.py",
        """        self._held[number] += 1
""",
        """        self._held[number] += 0
""",
    ),
    Mutant(
        "positions instead of what is done",
        "3: only the contiguous prefix, in the order of arrival",
        "stages/ledger.py",
        "offsets.update(first.extent.committable_below(self.done - first.first))",
        "offsets.update(first.extent.committable)",
    ),
    Mutant(
        "one release undoes every hold",
        "1: every dead letter is acknowledged before the offset moves",
        "stages/ledger.py",
        """        self._held[number] -= 1
""",
        """        self._held[number] = 0
""",
    ),
    Mutant(
        "the newest record held back decides",
        "3: only the contiguous prefix",
        "stages/ledger.py",
        "return min(self._reached, *self._held) if",
        "return min(self._reached, max(self._held)) if",
    ),
    Mutant(
        "the rest of a chunk takes its beginning's place",
        "2: a group of records carries exactly the offsets it completes",
        "chunks.py",
        "return Chunk(self.values[start:], self.mark, self.origins.part(start, len(self)))",
        "return Chunk(self.values[start:], self.mark, self.origins.part(0, len(self) - start))",
    ),
    Mutant(
        "a filtered chunk counts its values",
        "2: a group of records carries exactly the offsets it completes",
        "origins.py",
        "return self.whole.low(self.position(index))",
        "return self.whole.low(min(index, len(self.whole) - 1))",
    ),
    Mutant(
        "filtered offsets are forgotten behind a group",
        "2: filtered results carry their offsets",
        "stages/grouping.py",
        "        before, self._mark = self._mark, chunk.mark\n",
        """        before = self._mark
        if chunk.values:
            self._mark = chunk.mark
""",
    ),
    Mutant(
        "a value behind a filter is taken for one that was dropped",
        "1: it is the failing record that is dead-lettered",
        "origins.py",
        "return index + bisect_right(self._drops, index)",
        "return index + bisect_right(self._drops, index - 1)",
    ),
    Mutant(
        "groups wait for ever",
        "10: every wait has a deadline",
        "stages/grouping.py",
        "return None if self._since is None or self._within is None else self._since + self._within",
        "return None",
    ),
    Mutant(
        "a letter is done as soon as it is sent",
        "1: every dead letter is acknowledged before the offset moves",
        "stages/ends.py",
        "while self._numbers and self._numbers[0][0] < self.done:",
        "while self._numbers:",
    ),
    Mutant(
        "a hand-written strategy completes one record more",
        "3: never by offset arithmetic",
        "stages/passage.py",
        "while lane and lane[0].offset < offset:",
        "while lane and lane[0].offset <= offset:",
    ),
    Mutant(
        "the first of several values completes the record",
        "2: a group of records carries exactly the offsets it completes",
        "stages/passage.py",
        "last = index + 1 == len(chunk) or number not in {n for _, _, n in chunk.origins.members(index + 1)}",
        "last = True",
    ),
    Mutant(
        "a hand-written strategy completes out of order",
        "3: only the contiguous prefix, in the order of arrival",
        "stages/passage.py",
        """        while self._order and self._order[0].done:
            self._order.popleft()""",
        """        while self._order and any(each.done for each in self._order):
            self._order.popleft()""",
    ),
    Mutant(
        "take completes what was filtered behind its values",
        "2: exactly the offsets it completes",
        "operators/take.py",
        "min(through, origins.low(wanted))",
        "through",
    ),
    Mutant(
        "states outlive what is read again",
        "6: a state starts anew for a partition that is read again",
        "compiler/factory.py",
        """                if not goes_on:
""",
        """                if False:
""",
    ),
    Mutant(
        "a position without records is passed over",
        "3: an idle loop passes an empty chunk when the position moved",
        "processing/feeder.py",
        "if not (len(records) or (records.positions and self._before_each is None)):",
        "if not len(records):",
    ),
)
