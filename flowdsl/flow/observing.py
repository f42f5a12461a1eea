"""A flow as an Observable: each subscription is a run of its own, on a thread of its own.

An offset moves once ``on_next`` has returned with its value. What nobody can say of, because the subscription was disposed
of at that very moment, counts as not done: it will be read again.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, cast

import reactivex
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.scheduler import CurrentThreadScheduler

from flowdsl.clock import waitable
from flowdsl.flow.execution import Execution, Options
from flowdsl.operators.sink import sink
from flowdsl.plan.nodes import Upstream

LAST_SECONDS = 6.0
"""Beyond ``stop_timeout``: the last commit."""

logger = logging.getLogger("flowdsl")


class _Disposed(BaseException):
    """Ends the run, at a value that is not delivered any more; no policy for failing records applies to it."""


def observable_of(flow: Upstream, options: Options) -> reactivex.Observable[Any]:
    """Cold: nothing is read before somebody subscribes, and two subscriptions share nothing."""

    def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:  # noqa: ARG001  # a run has a thread of its own
        return Disposable(_Observed(flow, options, observer).dispose)

    return reactivex.create(subscribe)


class _Observed:
    """One subscription. ``dispose`` may be called from any thread, also from within ``on_next``."""

    def __init__(self, flow: Upstream, options: Options, observer: ObserverBase[Any]) -> None:
        self._observer, self._stop_timeout = observer, options.stop_timeout
        self._inside = False
        self._disposed_by: int | None = None
        self._thread = threading.Thread(target=self._run, name="flowdsl-observed", daemon=True)
        self._execution: Execution | None = None
        try:
            self._execution = Execution(flow.through(sink(self._deliver, name="to_observable")).plan, options)
        except Exception as error:  # noqa: BLE001  # faults of the flow, a broker that does not answer
            observer.on_error(error)
        else:
            # The trampoline, in which every subscription is made, comes to this when the subscription is complete up to
            # the user's end: before that an operator such as take could not dispose of it.
            CurrentThreadScheduler.singleton().schedule(self._start)

    def _start(self, *_: object) -> None:
        self._thread.start()

    def dispose(self) -> None:
        """Drain, commit, leave. Waits for that, unless ``on_next`` is under way, which may be waiting for the caller."""
        if self._disposed_by is None:
            self._disposed_by = threading.get_ident()
        if self._execution is None:
            return
        self._execution.stop()
        # ``_deliver`` says that it is inside before it looks at ``_disposed_by``: one of the two sees the other.
        if not self._inside and self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(waitable(self._stop_timeout + LAST_SECONDS))

    def _deliver(self, value: Any) -> None:
        self._inside = True
        try:
            if self._disposed_by is not None:
                raise _Disposed
            self._observer.on_next(value)
        finally:
            self._inside = False
        if self._disposed_by is None:
            is_unseen = getattr(self._observer, "is_stopped", False)  # another thread is about to dispose
        else:
            is_unseen = self._disposed_by != threading.get_ident()
        if is_unseen:
            raise _Disposed

    def _run(self) -> None:
        execution = cast("Execution", self._execution)
        try:
            execution.run()
        except _Disposed:
            return
        except BaseException as error:  # whatever ended the run
            if self._disposed_by is None:
                self._observer.on_error(cast("Exception", error))
            else:
                logger.warning("a flow whose subscription was disposed of ended with an error", exc_info=error)
            return
        if self._disposed_by is None:
            self._observer.on_completed()
