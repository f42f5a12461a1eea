"""Mutants of how values move: room, outboxes, joins, branches, sinks, dead letters."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

STAGES = (
    Mutant(
        "pop before downstream accepted",
        "reject before touching; own after accepting; pop after downstream accepted",
        "interface/step.py",
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
        "interface/step.py",
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
        "acknowledgements are not waited for",
        "1: delivered means acknowledged",
        "stages/sending.py",
        "return self.is_sent and not self.delivery.waiting",
        "return self.is_sent",
    ),
    Mutant(
        "offsets move before the sink is flushed",
        "1: offsets move after flush",
        "stages/writing.py",
        """        self._mark = chunk.mark
        return self.advance()
""",
        """        self._mark = chunk.mark
        return (progress(chunk.mark),)
""",
    ),
    Mutant(
        "a join that does not wait",
        "8: join up to the deadline",
        "interface/step.py",
        """        while not self._over:
            self._later(self._turn)""",
        """        if not self._over:
            self._later(self._turn)""",
    ),
    Mutant(
        "a join that waits for its outbox alone",
        "8: join up to the deadline",
        "interface/step.py",
        "return bool(self._outbox) or self.is_busy()",
        "return bool(self._outbox)",
    ),
    Mutant(
        "a join drops what is held",
        "8: join up to the deadline",
        "interface/step.py",
        """                if not flushed:
                    self.flush()
""",
        "",
    ),
    Mutant(
        "what came behind a failure goes on",
        "7: a failing record stops the flow, itself not committed",
        "interface/step.py",
        """            except BaseException:
                self._give_up()
                raise
            outbox.popleft()""",
        """            except BaseException:
                outbox.popleft()
                raise
            outbox.popleft()""",
    ),
    Mutant(
        "no room is no reason to reject",
        "10: every queue is bounded, and order is kept",
        "stages/segment.py",
        "        if self._outbox or self._work:\n            return False\n",
        "",
    ),
    Mutant(
        "what came before a failing record is dropped with it",
        "7: everything before a failing record is completed",
        "stages/segment.py",
        """        if done:
            self._work.append(Work(index + len(loop.calls), out))""",
        """        if done > 1:
            self._work.append(Work(index + len(loop.calls), out))""",
    ),
    Mutant(
        "what comes behind a failing record is dropped with it",
        "1: skipped is the failing record alone",
        "stages/segment.py",
        "        self._work.append(Work(index, rest.tail(1)))\n",
        "",
    ),
    Mutant(
        "the rest of a chunk is passed over by calls when the run ends",
        "8: the slice ends after the record in hand, the rest is carried",
        "stages/segment.py",
        """            if done < len(chunk.values):
                self._end()
            return out""",
        "            return out",
    ),
    Mutant(
        "what is set aside in a segment goes on when the run ends",
        "8: the slice ends after the record in hand, the rest is carried",
        "stages/segment.py",
        """        self._ended = True
        self._work.clear()
""",
        """        self._ended = True
""",
    ),
    Mutant(
        "a dead letter that has to wait counts as sent",
        "1: every dead letter is acknowledged before the offset moves",
        "stages/segment.py",
        """        if verdict is Verdict.WAIT:
            return False""",
        """        if verdict is Verdict.WAIT:
            return True""",
    ),
    Mutant(
        "a letter that was rejected is not offered again",
        "1: skipped is not dead-lettered",
        "stages/failures.py",
        """                self._sent = failure, at
""",
        """                self._sent = failure, at + 1
""",
    ),
    Mutant(
        "what was read before a rebalance is used",
        "4: records whose partition changed hands are dropped",
        "processing/feeder.py",
        """        self._records, self._at = None, 0
""",
        """        pass
""",
    ),
    Mutant(
        "a pause survives a rebalance",
        "9: on every assignment pause or resume is set for each partition",
        "processing/feeder.py",
        """        (self._consumer.pause if self._paused else self._consumer.resume)(partitions)
""",
        "",
    ),
    Mutant(
        "a branch is ahead of what downstream took",
        "own after accepting",
        "stages/branches.py",
        """        junction.downstream.submit(Message(onward))
        junction.marks[self._index] = max(chunk.mark, junction.marks[self._index])
""",
        """        junction.marks[self._index] = max(chunk.mark, junction.marks[self._index])
        junction.downstream.submit(Message(onward))
""",
    ),
    Mutant(
        "a branch without values hears nothing",
        "3: branches commit the minimum of all",
        "stages/branches.py",
        """            if index not in self._failed:
""",
        """            if index not in self._failed and (part.values or not chunk.values):
""",
    ),
    Mutant(
        "a sink is never flushed",
        "1: offsets move after flush",
        "stages/writing.py",
        """        self._call_flush()
        delivered""",
        "        delivered",
    ),
    Mutant(
        "a flush that failed is tried again",
        "1: offsets move after flush",
        "stages/writing.py",
        """            self._broken = True
""",
        "",
    ),
    Mutant(
        "filtered offsets overtake what is not flushed",
        "2: filtered and empty results never overtake data that is still held",
        "stages/writing.py",
        """        elif not self._count:
            return (chunk,)""",
        """        else:
            return (chunk,)""",
    ),
    Mutant(
        "a refused record is committed",
        "11: a record that was refused is asked about",
        "stages/producing.py",
        """        head = sending.chunk.head(index)
""",
        """        head = sending.chunk
""",
    ),
    Mutant(
        "what the producer had no room for is lost",
        "reject before touching; own after accepting; pop after downstream accepted",
        "stages/sending.py",
        "self._taken += producer.send(rest, self.delivery, self._taken)",
        "self._taken += len(rest) + 0 * producer.send(rest, self.delivery, self._taken)",
    ),
    Mutant(
        "a refused record is passed over",
        "11: a record that was refused is asked about",
        "stages/producing.py",
        """        while sending.lost:
            index = min(sending.lost)""",
        """        while len(sending.lost) > 1:
            index = min(sending.lost)""",
    ),
    Mutant(
        "filtered offsets overtake what is being produced",
        "2: filtered and empty results never overtake data that is still held",
        "stages/producing.py",
        "if not chunk.values and not self._under_way:",
        "if not chunk.values:",
    ),
    Mutant(
        "a join does not wait for acknowledgements",
        "8: join up to the deadline",
        "stages/producing.py",
        """        return bool(self._under_way)
""",
        """        return False
""",
    ),
    Mutant(
        "records take the key of another",
        "12: keys, headers and timestamps survive",
        "operators/produce.py",
        "return chunk.origins.column(part)",
        "return [chunk.origins.column(part)[0]] * len(chunk)",
    ),
    Mutant(
        "paused partitions are read on",
        "10: every queue is bounded: while records wait, nothing new is read",
        "processing/feeder.py",
        "            self._consumer.pause(self._assigned)\n",
        "",
    ),
    Mutant(
        "nobody reads while records wait",
        "9: a member that is paused is read, so that its group does not take it for dead",
        "processing/feeder.py",
        "return self._paused or (self._waiting_since is not None and self._clock() - self._waiting_since >= PAUSE_AFTER)",
        "return False",
    ),
    Mutant(
        "the result of a value that cannot be used is taken for that of the next",
        "1: it is the failing record that is dead-lettered",
        "stages/segment.py",
        "rest = Work(index, chunk.tail(at), results[at + 1 :])",
        "rest = Work(index, chunk.tail(at), results[at:])",
    ),
)
