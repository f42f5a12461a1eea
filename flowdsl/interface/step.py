"""The base of all strategies: waiting, outbox, carry-over, deadlines and lifecycle are written here and nowhere else.

The rule is: reject before touching; own after accepting; pop after downstream accepted. After an error nothing that came
behind the failed message leaves the step, so that a drain can never commit past it.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from flowdsl.clock import SYSTEM_CLOCK, Clock, Deadline
from flowdsl.errors import InvalidMessage
from flowdsl.interface import arguments
from flowdsl.interface.invalid import is_about, pass_over
from flowdsl.interface.strategy import MessageRejected, ProcessingStrategy
from flowdsl.types import FilteredPayload, Message

In = TypeVar("In")
Out = TypeVar("Out")

DRAIN_PAUSE = 0.002
"""Seconds between two looks at a downstream that does not take what ``join`` has left."""

logger = logging.getLogger("flowdsl")


class Step(ProcessingStrategy[In], Generic[In, Out]):
    """A strategy with one successor. Subclasses fill in ``accept`` and, where they hold or wait, the other hooks.

    An ``InvalidMessage`` out of ``submit`` is about the message submitted, which has been taken; one about an earlier
    message waits for the next ``poll`` or the end of ``join``, which may have to be called again.
    """

    def __init__(self, next_step: ProcessingStrategy[Out], *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.next_step: ProcessingStrategy[Out] = arguments.strategy(next_step, "next_step")
        self.clock = clock
        self._outbox: deque[Message[Any]] = deque()
        self._invalid: deque[InvalidMessage] = deque()
        self._closed = False
        self._over = False

    @abstractmethod
    def accept(self, message: Message[In | FilteredPayload]) -> None:
        """Own this message: work on it, hold it, or ``emit`` it. An InvalidMessage raised here is taken care of."""

    def has_room(self) -> bool:
        """Whether the next message may be accepted, given that everything that could leave has left."""
        return not self._outbox

    def advance(self) -> None:  # optional
        """Move what may have become ready: timers that fired, work that finished elsewhere."""

    def is_busy(self) -> bool:
        """Whether accepted work is still under way, apart from what waits in the outbox."""
        return False

    def is_holding(self) -> bool:
        """Whether something is held back that ``flush`` would emit."""
        return False

    def flush(self) -> None:
        """Emit what is held back. Called by ``join`` once no work is under way."""

    def abandon(self) -> None:  # optional
        """Drop what is held, cancel what runs. Called by ``terminate``; must not block, and may be called again."""

    def rest(self, deadline: Deadline) -> None:
        deadline.pause(DRAIN_PAUSE)

    def own_deadline(self) -> float | None:
        """When ``advance`` is needed at the latest, apart from what downstream needs."""
        return None

    def emit(self, message: Message[Any]) -> None:
        """Hand a message on, behind everything that was emitted before."""
        self._outbox.append(message)

    @property
    def waiting(self) -> int:
        """How many messages wait for downstream to take them."""
        return len(self._outbox)

    def submit(self, message: Message[In | FilteredPayload]) -> None:
        if self._closed:
            text = f"{self} takes no more messages: it was closed, joined or terminated, or it failed"
            raise RuntimeError(text)
        self._later(self._turn)
        if not self.has_room():
            raise MessageRejected
        self._own(message)
        if self._outbox:
            try:
                self._hand_on()
            except InvalidMessage as invalid:
                if is_about(invalid, message):
                    raise
                self._invalid.append(invalid)

    def poll(self) -> None:
        self._downstream(self.next_step.poll)
        self._turn()
        if self._invalid:
            raise self._invalid.popleft()

    def close(self) -> None:
        self._closed = True

    def join(self, timeout: float | None = None) -> None:
        deadline = Deadline.after(self.clock, timeout)
        self._closed = True
        try:
            self._finish(deadline)
        except Exception:
            for rest in (self._finish, self._join_downstream):  # what was emitted before the failure still leaves
                with suppress(BaseException):  # what failed first is what is told
                    rest(deadline)
            raise
        self._join_downstream(deadline)
        if self._invalid:
            raise self._invalid.popleft()

    def terminate(self) -> None:
        self._invalid.clear()
        self._give_up()
        self.abandon()
        self.next_step.terminate()

    def next_deadline(self) -> float | None:
        own, after = None if self._over else self.own_deadline(), self.next_step.next_deadline()
        return own if after is None else after if own is None else min(own, after)

    def held_by(self) -> str | None:
        return self.next_step.held_by() or (str(self) if self._outbox or self.is_busy() or self.is_holding() else None)

    def _join_downstream(self, deadline: Deadline) -> None:
        self.next_step.close()
        self._later(lambda: self._downstream(lambda: self.next_step.join(deadline.remaining())))

    def _own(self, message: Message[In | FilteredPayload]) -> None:
        try:
            try:
                self.accept(message)
            except InvalidMessage as invalid:
                passed = pass_over(message, invalid)
                if passed is not None:
                    self.accept(passed)
                self._later(self._hand_on)
                raise
        except (MessageRejected, InvalidMessage):
            raise
        except BaseException:
            self._closed = True  # what is held came before this message and may still finish; nothing may follow it
            raise

    def _turn(self) -> None:
        if self._over:
            return
        if self._outbox:
            self._hand_on()
        try:
            self.advance()
        except InvalidMessage:
            raise
        except BaseException:
            self._closed = True  # as in _own: what was emitted came before
            raise
        if self._outbox:
            self._hand_on()

    def _hand_on(self) -> None:
        outbox = self._outbox
        while outbox:
            try:
                self.next_step.submit(outbox[0])
            except MessageRejected:
                return
            except InvalidMessage as invalid:
                self._take_back(invalid)
                raise
            except BaseException:
                self._give_up()
                raise
            outbox.popleft()

    def _take_back(self, invalid: InvalidMessage) -> None:
        """Downstream took the first message of the outbox only if what it raised is about that one."""
        if is_about(invalid, self._outbox[0]):
            message = self._outbox.popleft()
            passed = pass_over(message, invalid)
            if passed is not None:
                self._outbox.appendleft(passed)

    def _downstream(self, call: Callable[[], None]) -> None:
        try:
            call()
        except InvalidMessage:
            raise
        except MessageRejected as rejected:
            self._give_up()
            text = (
                f"{self.next_step} raised MessageRejected from poll or join; only submit may, and must keep the message"
            )
            raise RuntimeError(text) from rejected
        except BaseException:
            self._give_up()
            raise

    def _later(self, call: Callable[[], None]) -> None:
        """Keep an InvalidMessage for a moment at which the caller cannot take it for one about another message."""
        try:
            call()
        except InvalidMessage as invalid:
            self._invalid.append(invalid)

    def _give_up(self) -> None:
        """Nothing leaves any more, neither what waits nor what is held."""
        self._closed = self._over = True
        self._outbox.clear()

    def _finish(self, deadline: Deadline) -> None:
        flushed = False
        while not self._over:
            self._later(self._turn)
            if self._is_unfinished():
                self._later(lambda: self._downstream(self.next_step.poll))
                self._later(self._turn)
            if not self._is_unfinished():
                self._over = flushed
                if not flushed:
                    self.flush()
                flushed = True
            elif deadline.expired:
                logger.warning("%s: the time for draining is up; what is unfinished will be read again", self)
                self._give_up()
            else:
                self.rest(deadline)

    def _is_unfinished(self) -> bool:
        return bool(self._outbox) or self.is_busy()

    def __str__(self) -> str:
        return type(self).__name__
