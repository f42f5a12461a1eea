"""Ways to break the library, each by name: which rule of delivery it breaks, and how to write it."""

from __future__ import annotations

from attrs import frozen


@frozen
class Mutant:
    """``before`` stands once in the file, ``after`` takes its place."""

    name: str
    rule: str
    file: str
    before: str
    after: str


MUTANTS = (
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
        "pop before downstream accepted",
        "reject before touching; own after accepting; pop after downstream accepted",
        "strategies/step.py",
        """            try:
                self.next_step.submit(outbox[0])
            except MessageRejected:
                return
""",
        """            first = outbox.popleft()
            try:
                self.next_step.submit(first)
                outbox.appendleft(first)
            except MessageRejected:
                return
""",
    ),
    Mutant(
        "what a stage has no room for is accepted and forgotten",
        "reject before touching",
        "strategies/step.py",
        """        if not self.has_room():
            raise MessageRejected
        self._own(message)
""",
        """        if not self.has_room():
            return
        self._own(message)
""",
    ),
    Mutant(
        "a rejected message is not carried over",
        "9: one owner of the carried-over message",
        "processing/feeder.py",
        """            except MessageRejected:
                return False
""",
        """            except MessageRejected:
                self._advance(stop - self._at)
                return False
""",
    ),
    Mutant(
        "retained partitions are not rewound",
        "6: what a join left unfinished is read again",
        "processing/membership.py",
        "            self._consumer.seek(offsets)\n",
        "",
    ),
    Mutant(
        "what a rebalance interrupted is used",
        "4: records read while a rebalance ran are dropped",
        "processing/membership.py",
        "        return not rewinds\n",
        "        return True\n",
    ),
    Mutant(
        "the fastest branch decides",
        "3: branches commit the minimum",
        "stages/branches.py",
        "return min(mark if at == index else other for at, other in enumerate(self.marks))",
        "return max(mark if at == index else other for at, other in enumerate(self.marks))",
    ),
    Mutant(
        "a rejecting branch loses its chunk",
        "9: nothing that was accepted is lost",
        "stages/branches.py",
        """                except MessageRejected:
                    break
""",
        """                except MessageRejected:
                    waiting.popleft()
                    break
""",
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
        "        self._held[number] += 1\n",
        "        self._held[number] += 0\n",
    ),
    Mutant(
        "positions instead of what is done",
        "3: only the contiguous prefix, in the order of arrival",
        "stages/ledger.py",
        "offsets.update(first.records.committable_below(self.done - first.first))",
        "offsets.update(first.records.committable)",
    ),
    Mutant(
        "acknowledgements are not waited for",
        "1: delivered means acknowledged",
        "stages/producing.py",
        "return self.is_sent and not self.delivery.waiting",
        "return self.is_sent",
    ),
    Mutant(
        "commits after loss",
        "5: lost partitions: commit nothing",
        "processing/membership.py",
        """        self._pipelines.drop()
        self._gate.forget(partitions)
""",
        """        self._pipelines.drop()
        self._gate.send_last(Deadline.after(self._clock, 1.0))
""",
    ),
    Mutant(
        "offsets move before the sink is flushed",
        "1: offsets move after flush",
        "stages/writing.py",
        "        self._mark = chunk.mark\n        return self.advance()\n",
        "        self._mark = chunk.mark\n        return (progress(chunk.mark),)\n",
    ),
    Mutant(
        "commits go back",
        "5: only growing within an assignment",
        "processing/gate.py",
        "if start is not None and offset > self._reached.get(partition, start):",
        "if start is not None:",
    ),
)
