"""Ways to break slow work, each by name."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

PREFIX = "3: out-of-order completion commits the contiguous prefix"
ORDER = "order as promised, whatever fails, waits or is tried again"
ENDS = "what is done is committed in the end"
LATE = "what a late worker brings counts no more"
TIME = "what exceeds its time is a failed record"

SLOW_MUTANTS = (
    Mutant(
        "what leaves completes what stays",
        PREFIX,
        "stages/unfinished.py",
        "return min(self._mark, *lowest) if self._lots else self._mark",
        "return self._mark",
    ),
    Mutant(
        "a value that left is the first that stays",
        PREFIX,
        "stages/unfinished.py",
        "self._first = self.finished.index(0, self._first)",
        "self._first = len(self.finished) - 1",
    ),
    Mutant(
        "only the newest chunk holds offsets back",
        PREFIX,
        "stages/unfinished.py",
        "for lot in self._lots.values())\n        return min",
        "for lot in list(self._lots.values())[-1:])\n        return min",
    ),
    Mutant(
        "what was not begun counts as done when time is short",
        PREFIX,
        "stages/concurrent.py",
        "        self._endings.try_no_more()\n",
        "        self._endings.clear()\n",
    ),
    Mutant(
        "what fails elsewhere counts as done",
        "7: a failing record stops the flow, and is not committed",
        "stages/endings.py",
        "            entry.failure = failure\n            entry.is_done",
        "            entry.is_done",
    ),
    Mutant(
        "keys do not wait for themselves",
        ORDER,
        "stages/orders.py",
        "            if lane is None:\n                self._lanes[entry.key] = deque()\n",
        "            if True:\n                self._lanes[entry.key] = deque()\n",
    ),
    Mutant(
        "results leave as they are ready where order was promised",
        ORDER,
        "stages/orders.py",
        "        while entries and entries[0].is_done:\n            taken.append(entries.popleft())\n",
        "        taken += [each for each in entries if each.is_done]\n"
        "        self._entries = entries = deque(each for each in entries if not each.is_done)\n",
    ),
    Mutant(
        "values pass one of their partition that is tried again elsewhere",
        ORDER,
        "stages/orders.py",
        "            held |= partitions\n            if not",
        "            if not",
    ),
    Mutant(
        "values pass one of their partition that is set aside",
        ORDER,
        "stages/parking.py",
        "        if not held:\n            return work\n",
        "        if held is not None:\n            return work\n",
    ),
    Mutant(
        "what came before the failed value waits behind it",
        ORDER,
        "stages/segment.py",
        "            before.passes = True\n",
        "            before.passes = False\n",
    ),
    Mutant(
        "what leaves completes what is set aside",
        PREFIX,
        "stages/segment.py",
        "chunk.mark = min(chunk.mark, self._parking.floor(self._top))",
        "chunk.mark = max(chunk.mark, self._parking.floor(self._top))",
    ),
    Mutant(
        "the first that is tried again completes the next",
        PREFIX,
        "stages/parking.py",
        "            work.chunk.mark = int(min(work.chunk.mark, lowest))\n",
        "",
    ),
    Mutant(
        "what was set aside is forgotten when it was tried again",
        "1: every record is delivered",
        "stages/parking.py",
        "        self.works = rest\n",
        "        self.works = []\n",
    ),
    Mutant(
        "what is to be produced again counts as acknowledged",
        PREFIX,
        "stages/producing.py",
        "        if sending.again:\n",
        "        if sending.again.clear():\n",
    ),
    Mutant(
        "nobody hears that all that was set aside is done",
        ENDS,
        "stages/segment.py",
        "            self._leave(progress(self._top))\n",
        "            pass\n",
    ),
    Mutant(
        "what comes later passes one that is to be given again",
        ORDER,
        "stages/returning.py",
        "        if not self._returns or passing.attempts:\n",
        "        if passing is not None:\n",
    ),
    Mutant(
        "what is to be given again is done because its offset left",
        PREFIX,
        "stages/passage.py",
        "            self._let_go.remove(passing)\n",
        "            pass\n",
    ),
    Mutant(
        "a result that comes after its time counts",
        LATE,
        "stages/attempts.py",
        "            if entry in counting:\n                del counting[entry]\n",
        "            if entry.outcome is not None:\n                counting.pop(entry, None)\n",
    ),
    Mutant(
        "what an assignment left behind counts in the next",
        LATE,
        "stages/attempts.py",
        "            if entry in counting:\n                del counting[entry]\n",
        "            if entry.outcome is not None:\n                counting.pop(entry, None)\n",
        also=(("self.outlet = Outlet(bell)", 'self.outlet = workers.__dict__.setdefault("outlet", Outlet(bell))'),),
    ),
    Mutant(
        "what exceeded its time counts as done",
        TIME,
        "stages/endings.py",
        "        self._order.ended([entry for entry in entries if self._failed(entry, TimeoutError(error))])\n",
        "        for entry in entries:\n            entry.is_done = True\n        self._order.ended(entries)\n",
    ),
    Mutant(
        "what exceeded its time is forgotten",
        TIME,
        "stages/concurrent.py",
        "            self._endings.exceeded(late, self._timeout or 0.0)\n",
        "            pass\n",
    ),
    Mutant(
        "what is tried again leaves before it is done",
        PREFIX,
        "stages/endings.py",
        "        self._wait_until(moment, again)\n        return False\n",
        "        self._wait_until(moment, again)\n        entry.is_done = True\n        return True\n",
    ),
    Mutant(
        "what waits for its next attempt is forgotten",
        ENDS,
        "stages/endings.py",
        "            self._order.ready.appendleft(heappop(self._waiting)[2])\n",
        "            heappop(self._waiting)\n",
    ),
    Mutant(
        "all that wait for a key begin together",
        ORDER,
        "stages/orders.py",
        "            if lane:\n                self.ready.append(lane.popleft())\n            else:\n",
        "            self.ready.extend(lane)\n            lane.clear()\n            if not lane:\n",
    ),
    Mutant(
        "what could not leave in its order goes to the end",
        ORDER,
        "stages/orders.py",
        "        self._entries.extendleft(reversed(entries))\n",
        "        self._entries.extend(entries)\n",
    ),
    Mutant(
        "what could not leave as it was ready is forgotten",
        ENDS,
        "stages/orders.py",
        "        self._done.extendleft(reversed(entries))\n",
        "        pass\n",
    ),
    Mutant(
        "nobody waits for what has begun",
        "8: a stop and a rebalance join what is under way",
        "stages/concurrent.py",
        "        return bool(self._endings)\n",
        "        return False\n",
    ),
    Mutant(
        "what a stop drops leaves with what has begun",
        PREFIX,
        "stages/concurrent.py",
        "        self._order.ready.clear()\n        self._endings.try_no_more()\n",
        "        dropped = [*(entry for entry in self._attempts._counting if entry.began is None), *self._order.ready]\n"
        "        for entry in dropped:\n            entry.succeed(None)\n"
        "        self._endings.ended(dropped)\n"
        "        self._order.ready.clear()\n        self._endings.try_no_more()\n",
    ),
)
