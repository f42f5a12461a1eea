"""The place of one worker: the process that has it now, and the batches that it was given and has not brought back."""

from __future__ import annotations

import pickle
from collections import deque
from typing import Any

from flowdsl.clock import Deadline
from flowdsl.errors import WorkerDied, shown
from flowdsl.pool.carriage import raised, unfit, unreadable
from flowdsl.pool.line import Batch, Errand, Line
from flowdsl.pool.process import Frame, Process
from flowdsl.pool.worker import BATCH, FORGET, FUNCTION, Raised, dumps

DEPTH = 2
"""Batches that a worker has: one in hand, and one that it finds when that is done."""


class Seat:
    """Used by the pool's thread, apart from ``look``."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.is_ready = False
        self.has_left = False
        """Whether it was told that nothing more will come."""
        self.is_dismissed = False
        """Whether it was killed because of what it had in hand."""
        self._batches: deque[Batch] = deque()
        self._looked_at: Errand | None = None

    @property
    def has_room(self) -> bool:
        return self.is_ready and len(self._batches) < DEPTH

    @property
    def load(self) -> int:
        return len(self._batches)

    def under_way(self, line: Line) -> int:
        """How many values of this function are with the worker."""
        return sum(len(batch.errands) - batch.done for batch in self._batches if batch.line is line)

    def learn(self, line: Line) -> None:
        """Send a function."""
        self.process.send(FUNCTION, line.number, int(line.is_context), line.body)

    def forget(self, line: Line) -> None:
        self.process.send(FORGET, line.number, 0, b"")

    def give(self, number: int, line: Line, errands: list[Errand]) -> bool:
        """Send a batch. Values that cannot be pickled fail. False if none is left."""
        try:
            body = dumps([errand.value for errand in errands])
        except Exception:  # noqa: BLE001  # whatever a user's class does when it is pickled: find the one to blame
            errands = [errand for errand in errands if _travels(line, errand)]
            if not errands:
                return False
            body = dumps([errand.value for errand in errands])
        self._batches.append(Batch(number, line, errands, len(body)))
        self.process.send(BATCH, line.number, number, body)
        return True

    def done(self, frame: Frame) -> None:
        """Write the outcomes of a batch, or of a part of it."""
        batch = self._batches[0]
        errands = batch.next(frame.line)
        if not batch.rest:
            self._batches.popleft()
        try:
            results, errors, seconds = pickle.loads(frame.body)  # noqa: S301  # from our own worker
        except Exception as error:  # noqa: BLE001  # whatever a user's class does when it is unpickled
            _take_apart(batch.line, errands, unreadable("function's result", error))
            return
        batch.line.pace.learn(len(errands), seconds, batch.nbytes * len(errands) // len(batch.errands))
        batch.line.cleared(errands)
        _deliver(batch.line, errands, results, errors)

    def spoilt(self, frame: Frame) -> None:
        """The worker could not read a batch, or has no function for it."""
        batch = self._batches.popleft()
        sent: Raised = pickle.loads(frame.body)  # noqa: S301  # from our own worker
        if batch.line.error is None:
            _take_apart(batch.line, batch.errands, unreadable("value", raised(sent)))

    def look(self) -> None:
        """Note when the value in hand was begun. Called by the thread that uses the pool.

        One that is done and has not come back yet has not begun again: it must not be taken for one that is stuck.
        """
        hand, before = self.in_hand(), self._looked_at
        self._looked_at = None if hand is None else hand[0]
        if before is not None and before is not self._looked_at:
            before.began = None
        if hand is not None:
            hand[0].began = hand[1]

    def in_hand(self) -> tuple[Errand, float] | None:
        """What the worker does just now, and since when."""
        hand = self.process.in_hand()
        for batch in tuple(self._batches):  # at once: the pool's thread may change them meanwhile
            if batch.number == hand.number and hand.at < len(batch.errands) and self.process.in_hand() == hand:
                return batch.errands[hand.at], hand.began
        return None

    def bury(self, deadline: Deadline) -> bool:
        """The worker is gone: give back everything; what it had in hand is a suspect. False if it had nothing."""
        hand = self.in_hand()
        culprit = None if hand is None else hand[0]
        self.process.reap(deadline)
        for batch in reversed(self._batches):
            line, errands = batch.line, batch.rest
            if culprit is not None and culprit in errands and not culprit.abandoned and line.blame(culprit):
                errands.remove(culprit)
                line.cleared([culprit])
                culprit.fail(WorkerDied(_told_death(culprit, self.process.how_it_ended)))
                line.tell([culprit])
            line.give_back(errands)
        self._batches.clear()
        return culprit is not None


def _travels(line: Line, errand: Errand) -> bool:
    try:
        dumps(errand.value)
    except Exception as error:  # noqa: BLE001  # as above
        errand.fail(unfit(errand.value, error))
        line.tell([errand])
        return False
    return True


def _take_apart(line: Line, errands: list[Errand], error: BaseException) -> None:
    """One of them is to blame. Where there are several, each is tried by itself."""
    if len(errands) > 1:
        line.give_back(errands, suspects=errands)
        return
    line.cleared(errands)
    wanted = [errand for errand in errands if not errand.abandoned]
    for errand in wanted:
        errand.fail(error)
    line.tell(wanted)


def _deliver(line: Line, errands: list[Errand], results: list[Any], errors: dict[int, Raised]) -> None:
    start = 0
    for index, error in sorted(errors.items()):
        _succeed(errands[start:index], results[start:index])
        errands[index].fail(raised(error))
        start = index + 1
    _succeed(errands[start:], results[start:])
    line.tell(errands)


def _succeed(errands: list[Errand], results: list[Any]) -> None:
    for errand, result in zip(errands, results, strict=True):
        errand.succeed(result)


def _told_death(culprit: Errand, how: str) -> str:
    return (
        f"the worker process {how} while it worked on this value, and so did those that tried it again: the function ends"
        f" its process, or needs more memory than there is; the value is {shown(culprit.value)}"
    )
