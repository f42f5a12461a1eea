"""Values of an Observable on their way to the thread that drives a flow.

An Observable pushes, a flow pulls; in between is a queue with a bound. The Observable is subscribed on a thread of its own, and
disposed of there: one that emits inside ``subscribe`` is held up there and not in the flow, and a ``dispose`` that
blocks holds up nobody.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any, Literal

from reactivex.abc import ObservableBase

from flowdsl.clock import Deadline
from flowdsl.errors import FlowError
from flowdsl.reactive.bell import Bell

Overflow = Literal["block", "error", "drop_new", "drop_old"]

logger = logging.getLogger("flowdsl")


class _Closed(Exception):  # noqa: N818  # named for what happened
    """Raised into an Observable that emits inside ``subscribe``: nothing else ends it."""


class Inbox:
    """One subscription. ``open``, ``take`` and ``close`` are for the thread that drives the flow; any may emit."""

    def __init__(self, observable: ObservableBase[Any], capacity: int, overflow: Overflow) -> None:
        self._observable, self._capacity, self._overflow = observable, capacity, overflow
        self._values: deque[Any] = deque()
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._bell = Bell()
        self._completed = False
        self._error: BaseException | None = None
        self._dropped = 0
        self._owner: int | None = None
        self._thread = threading.Thread(target=self._subscribe, name="flowdsl-observable", daemon=True)

    # -- by the thread that drives the flow -----------------------------------------------------------------------

    def open(self, bell: Bell) -> None:
        """Subscribe, soon. ``bell`` is rung for every value, and for the end."""
        self._bell = bell
        self._owner = threading.get_ident()
        self._thread.start()

    @property
    def has_news(self) -> bool:
        """Whether ``take`` has something: values, the end, or an error."""
        return bool(self._values) or self._completed or self._error is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing will ever come any more."""
        return self._completed and self._error is None and not self._values

    def take(self, limit: int) -> list[Any]:
        """The values that are here. Raises what ended the Observable, once its values are out."""
        with self._changed:
            values = [self._values.popleft() for _ in range(min(limit, len(self._values)))]
            self._changed.notify_all()
        if not values and self._error is not None:
            raise self._error
        return values

    def close(self, deadline: Deadline) -> None:
        """Unsubscribe, and drop what is here. An Observable that holds up ``dispose`` is left behind, with a warning."""
        self._closed.set()
        with self._changed:
            self._values.clear()
            self._changed.notify_all()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(deadline.remaining())
            if self._thread.is_alive():
                logger.warning("an observable holds up its subscription or its disposal, and is left behind")
        if self._dropped:
            text = '%s values of an observable were dropped, because the flow was slower (overflow="%s")'
            logger.warning(text, self._dropped, self._overflow)

    # -- by the Observable ----------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        try:
            subscription = self._observable.subscribe(
                on_next=self._on_next, on_error=self._on_error, on_completed=self._on_completed
            )
        except _Closed:
            return
        except Exception as error:  # noqa: BLE001  # whatever a user's subscribe does
            self._on_error(error)
            return
        self._closed.wait()
        subscription.dispose()

    def _on_next(self, value: Any) -> None:
        with self._changed:
            if not self._make_room():
                return
            self._values.append(value)
        self._bell.ring(self)

    def _make_room(self) -> bool:
        """With the lock held. False if the value is not wanted."""
        while not self._closed.is_set() and self._error is None:
            if len(self._values) < self._capacity:
                return True
            if self._overflow == "drop_old":
                self._values.popleft()
                self._dropped += 1
            elif self._overflow == "drop_new":
                self._dropped += 1
                return False
            elif self._overflow == "error":
                self._error = FlowError(
                    f'the observable was faster than the flow: {self._capacity} of its values waited, and overflow is "error"'
                )
            elif threading.get_ident() == self._owner:
                self._error = FlowError(
                    "the observable emits on the thread that drives the flow, more than its capacity at once, and cannot be held up there: let it emit on another thread or scheduler, or raise capacity"
                )
            else:
                self._changed.wait()
        if threading.current_thread() is self._thread:
            raise _Closed
        self._bell.ring(self)
        return False

    def _on_error(self, error: Exception) -> None:
        with self._changed:
            self._error = self._error or error
        self._bell.ring(self)

    def _on_completed(self) -> None:
        with self._changed:
            self._completed = True
        self._bell.ring(self)
