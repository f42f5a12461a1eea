"""Mutants of the loop: reading, assignment, and the gate for commits."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

COMMITS = (
    Mutant(
        "retained partitions are not rewound",
        "6: what a join left unfinished is read again",
        "processing/membership.py",
        """            self._consumer.seek(offsets)
""",
        "",
    ),
    Mutant(
        "what a rebalance interrupted is used",
        "4: records read while a rebalance ran are dropped",
        "processing/membership.py",
        """        return not rewinds
""",
        """        return True
""",
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
        "commits go back",
        "5: only growing within an assignment",
        "processing/gate.py",
        "return {p: offset for p, offset in self._reached.items() if offset > known.get(p, assigned[p])}",
        "return {p: assigned[p] if p in known else offset for p, offset in self._reached.items()}",
    ),
    Mutant(
        "a second commit before the first was answered",
        "5: one commit under way at a time",
        "processing/gate.py",
        "if self._under_way is None and self._is_due():",
        "if self._is_due():",
    ),
    Mutant(
        "a commit that failed counts",
        "5: a commit that was lost is repeated",
        "processing/gate.py",
        """            logger.log(level, "a commit failed and will be repeated: %s", error)
            return
""",
        """            logger.log(level, "a commit failed and will be repeated: %s", error)
""",
    ),
    Mutant(
        "a member that was away too long commits",
        "5: none when the last poll is older than the broker's patience",
        "processing/gate.py",
        "return self._clock() - self.last_read < self._consumer.poll_interval",
        "return True",
    ),
    Mutant(
        "patience begins with the end of a read",
        "5: none when the last poll is older than the broker's patience",
        "processing/loop.py",
        """            records = self.consumer.read(limit, patience if self.feeder.is_empty else 0.0)
""",
        """            records = self.consumer.read(limit, patience if self.feeder.is_empty else 0.0)
            self.gate.last_read = self.clock()
""",
    ),
    Mutant(
        "a read that failed keeps a member alive",
        "5: none when the last poll is older than the broker's patience",
        "processing/loop.py",
        "            self.gate.last_read = last_read  # nobody",
        "            pass  # nobody",
    ),
    Mutant(
        "what was given up is committed",
        "5: only partitions of the current assignment",
        "processing/gate.py",
        """        \"\"\"These are not ours any more: nothing of them will be committed.\"\"\"
        for partition in partitions:
""",
        """        \"\"\"These are not ours any more: nothing of them will be committed.\"\"\"
        for partition in ():
""",
    ),
    Mutant(
        "the last commit is not sent",
        "8: join, commit, release",
        "processing/gate.py",
        """        if not self._may_commit:
            return
        wanted = self._news()""",
        """        return
        wanted = self._news()""",
    ),
    Mutant(
        "commits wait for the end",
        "5: what is done is committed in time",
        "processing/gate.py",
        "if self._under_way is None and self._is_due():",
        "if False:",
    ),
    Mutant(
        "what a pipeline had done is forgotten with it",
        "8: join, commit, release",
        "processing/gate.py",
        """        if self._news():
            self._forced = True
        self._ledger = None""",
        "        self._ledger = None",
    ),
    Mutant(
        "partitions are given up without a commit",
        "8: join, commit, release",
        "processing/membership.py",
        "            self._gate.end(Deadline.after(self._clock, self._seconds))",
        "            pass",
    ),
    Mutant(
        "partitions are given up without a join",
        "8: join, commit, release",
        "processing/membership.py",
        """        logger.info("revoked: %s", _named(partitions))
        self._drain()
""",
        """        logger.info("revoked: %s", _named(partitions))
        self._pipelines.drop()
        self._gate.drop_ledger()
        self._rewinds = True
""",
    ),
    Mutant(
        "partitions are given up before they are drained",
        "8: join, commit, release",
        "brokers/local/assignment.py",
        """        self._listener.revoked(sorted(partitions))
        for partition in partitions:
            self.positions.pop(partition, None)
        if self.member_id is not None:
            self._group.release(self.member_id, partitions)""",
        """        for partition in partitions:
            self.positions.pop(partition, None)
        if self.member_id is not None:
            self._group.release(self.member_id, partitions)
        self._listener.revoked(sorted(partitions))""",
    ),
    Mutant(
        "what is done is read again",
        "6: seek each to its lowest record that is not done",
        "processing/gate.py",
        """        self.catch_up()
        return self._reached.get(partition, self._assigned[partition])""",
        "        return self._assigned[partition]",
    ),
    Mutant(
        "where the read ended, for a part of it",
        "3: only the contiguous prefix, in the order of arrival",
        "brokers/local/records.py",
        "self.positions if stop == len(self) else {})",
        "self.positions)",
    ),
    Mutant(
        "an offset too far",
        "a committed offset is the next to read",
        "records.py",
        "run.offsets[end - run.start - 1] + 1 for _",
        "run.offsets[end - run.start - 1] + 2 for _",
    ),
    Mutant(
        "nobody hears of a loss",
        "5: lost partitions: terminate, commit nothing",
        "brokers/local/assignment.py",
        """            self._listener.lost(sorted(self.positions))
""",
        "",
    ),
    Mutant(
        "a partition has two owners",
        "a partition has one owner at most",
        "brokers/local/group.py",
        "free = mine - self.owners.keys()",
        "free = mine - held",
    ),
    Mutant(
        "commits by number are never due",
        "5: what is done is committed in time",
        "processing/gate.py",
        "return messages is not None and self._done_since() >= messages",
        "return False",
    ),
    Mutant(
        "the last commit is sent once",
        "5: a commit that was lost is repeated",
        "processing/gate.py",
        """            if isinstance(self.error, _FINAL):
                break
""",
        """            break
""",
    ),
    Mutant(
        "a rebalance waits as long as the work takes",
        "8: join up to the deadline, for a rebalance a part of the broker's patience",
        "processing/membership.py",
        "self._seconds = min(consumer.poll_interval / SHARE, join_timeout)",
        "self._seconds = 1000.0 + 0.0 * join_timeout",
    ),
    Mutant(
        "nothing is finished once a step failed",
        "7: everything before a failing record is completed",
        "processing/loop.py",
        """            if not self.compiled:
                self.pipelines.drop()
""",
        """            self.pipelines.drop()
""",
    ),
    Mutant(
        "what was read beyond the end counts as done",
        "1: a committed offset means that every lower record is done",
        "processing/bounds.py",
        "positions = {p: min(offset, ends.get(p, offset)) for p, offset in records.positions.items()}",
        "positions = dict(records.positions)",
    ),
)
