"""The thread that owns the processes of one pool: hands out batches, collects outcomes, replaces workers that died.

Everything about processes happens on this thread. Others leave commands and values, which are deques, and nudge it.
"""

from __future__ import annotations

import logging
import pickle
import selectors
import threading
from collections import deque
from collections.abc import Callable
from itertools import count

from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import WorkerDied
from flowdsl.pool.carriage import NotLoaded, raised
from flowdsl.pool.line import Line
from flowdsl.pool.process import Frame, Process
from flowdsl.pool.seat import DEPTH, Seat
from flowdsl.pool.wake import Wake
from flowdsl.pool.worker import DONE, FORGOTTEN, LOADED, READY, SPOILT, Raised

MOST_FAILURES = 5
"""Workers that may die one after the other without having done anything, before the pool gives up."""
LOOK_SECONDS = 1.0
"""How long the thread sleeps at most."""
REAP_SECONDS = 5.0
ABANDONED_SECONDS = 1.0
"""How long a worker may go on with what nobody wants any more: it may be about to end, and a new worker takes time to start."""

logger = logging.getLogger("flowdsl")


class Hub(threading.Thread):
    """Runs until it is told to close, or cannot go on."""

    def __init__(self, size: int, initializer: bytes | None) -> None:
        super().__init__(name="flowdsl-pool", daemon=True)
        self._size, self._initializer = size, initializer
        self.lines: dict[int, Line] = {}
        self.seats: list[Seat] = []
        self.error: BaseException | None = None
        """Why the pool cannot go on."""
        self.fault: BaseException | None = None
        """What closing a resource raised, the first time."""
        self.is_over = False
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = Wake()
        self._hungry = False
        self._selector = selectors.DefaultSelector()
        self._numbers = count(1)
        self._failures = 0
        self._closing: Deadline | None = None

    # -- by other threads -----------------------------------------------------------------------------------------

    def command(self, call: Callable[[], None]) -> None:
        """Have something done by this thread."""
        self._commands.append(call)
        self._wake.call()

    def came(self) -> None:
        """Values wait: the thread is woken if a worker has nothing to do, and finds them itself otherwise."""
        if self._hungry:
            self._wake.call()

    def close(self, deadline: Deadline) -> None:
        self.command(lambda: self._close(deadline))

    def kill(self) -> None:
        """End all workers at once."""
        self.command(self._kill)

    # -- the thread -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._selector.register(self._wake, selectors.EVENT_READ)
            for _ in range(self._size):
                self._hire()
            while self.error is None and (self.seats or self._closing is None):
                self._turn()
        except BaseException as error:  # whatever it is: nobody may wait for ever
            logger.exception("the thread of a pool of processes failed")
            self.error = error
        finally:
            self._end()

    def _turn(self) -> None:
        for seat in self.seats:
            interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if seat.process.is_behind else 0)
            if self._selector.get_key(seat.process).events != interest:
                self._selector.modify(seat.process, interest, seat)
        wait = LOOK_SECONDS if self._closing is None else self._closing.remaining()
        for key, events in self._selector.select(LOOK_SECONDS if wait is None else min(wait, LOOK_SECONDS)):
            if key.data is not None:
                self._serve(key.data, events)
        self._wake.answer()
        while self._commands:
            self._commands.popleft()()
        if self._closing is None:
            self.stop_abandoned(ABANDONED_SECONDS)
            self._fill()
        else:
            self._send_off(self._closing)

    def _serve(self, seat: Seat, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            seat.process.flush()
        try:
            for frame in seat.process.receive():
                self._take(seat, frame)
        except EOFError:
            self._lose(seat)

    def _take(self, seat: Seat, frame: Frame) -> None:
        if frame.kind == DONE:
            self._failures = 0
            seat.done(frame)
        elif frame.kind == SPOILT:
            seat.spoilt(frame)
        else:
            sent: Raised | None = pickle.loads(frame.body)  # noqa: S301  # from our own worker
            error = None if sent is None else raised(sent)
            if frame.kind == READY:
                seat.is_ready = True
                self.error = self.error or error
            elif frame.kind == LOADED:
                self._loaded(frame.line, error if frame.number or error is None else NotLoaded(error))
            elif frame.kind == FORGOTTEN:
                self.fault = self.fault or error

    def _loaded(self, number: int, error: BaseException | None) -> None:
        line = self.lines.get(number)
        if line is not None and error is not None:
            line.fail(error)
        elif line is not None:
            line.tried.set()

    # -- workers --------------------------------------------------------------------------------------------------

    def _hire(self) -> None:
        seat = Seat(Process(self._initializer))
        self.seats.append(seat)
        self._selector.register(seat.process, selectors.EVENT_READ, seat)
        for line in self.lines.values():
            seat.learn(line)

    def _lose(self, seat: Seat) -> None:
        """It died, or left as it was told."""
        self.seats.remove(seat)
        self._selector.unregister(seat.process)
        if self._closing is not None:
            seat.bury(self._closing)
            return
        seat.process.kill()  # it may have closed its end and live
        had_work = seat.bury(Deadline.after(SYSTEM_CLOCK, REAP_SECONDS))
        how = seat.process.how_it_ended
        level = logging.DEBUG if seat.is_dismissed else logging.WARNING
        logger.log(level, "a worker process %s; another takes its place", how)
        self._failures = 0 if had_work else self._failures + 1
        if self._failures >= MOST_FAILURES:
            text = (
                f"{MOST_FAILURES} worker processes ended one after the other before they did anything; the last {how}"
            )
            self.error = WorkerDied(text)
        else:
            self._hire()

    def add(self, line: Line) -> None:
        """A function that all workers get."""
        self.lines[line.number] = line
        for seat in self.seats:
            seat.learn(line)

    def remove(self, line: Line) -> None:
        """A function that is not needed any more."""
        if self.lines.pop(line.number, None) is not None:
            for seat in self.seats:
                seat.forget(line)

    def stop_abandoned(self, seconds: float = 0.0) -> None:
        """Kill workers that do what nobody wants any more, and have done so for that long."""
        for seat in self.seats:
            hand = seat.in_hand()
            if hand is not None and hand[0].abandoned and SYSTEM_CLOCK() - hand[1] >= seconds:
                seat.is_dismissed = True
                seat.process.kill()

    def _fill(self) -> None:
        for wanted in range(DEPTH):
            for seat in self.seats:
                while seat.has_room and seat.load <= wanted and self._give(seat):
                    continue
        self._hungry = any(seat.has_room for seat in self.seats)
        if self._hungry and any(line.waiting for line in self.lines.values()):
            self._wake.call()  # something came while we looked

    def _give(self, seat: Seat) -> bool:
        line = next((line for line in self.lines.values() if line.waiting), None)
        if line is None:
            return False
        self.lines[line.number] = self.lines.pop(line.number)  # to the end: it is the turn of another next
        errands = line.take(self._share(line))
        return bool(errands) and seat.give(next(self._numbers), line, errands)

    def _share(self, line: Line) -> int:
        """How many values a batch has if all batches that workers may have are alike."""
        count = len(line.waiting) + sum(seat.under_way(line) for seat in self.seats)
        return -(-count // (DEPTH * self._size))

    # -- the end --------------------------------------------------------------------------------------------------

    def _close(self, deadline: Deadline) -> None:
        self._closing = deadline
        for seat in self.seats:
            for line in self.lines.values():
                seat.forget(line)

    def _send_off(self, deadline: Deadline) -> None:
        for seat in self.seats:
            if not seat.has_left and not seat.process.is_behind:
                seat.has_left = True
                seat.process.hang_up()
        if deadline.expired:
            self._kill()

    def _kill(self) -> None:
        self._closing = Deadline.after(SYSTEM_CLOCK, REAP_SECONDS)
        for seat in self.seats:
            seat.process.kill()

    def _end(self) -> None:
        self.is_over = True
        error = self.error or WorkerDied("the pool of worker processes was closed while work was waiting for it")
        for seat in self.seats:
            seat.process.kill()
        for seat in self.seats:
            seat.bury(Deadline.after(SYSTEM_CLOCK, REAP_SECONDS))
        self.seats.clear()
        for line in list(self.lines.values()):
            line.fail(error)
        self._selector.close()
        self._wake.close()
