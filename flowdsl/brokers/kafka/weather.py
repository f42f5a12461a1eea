"""Whether the broker can be reached: told once when it is away, once when it is back, however many of librdkafka's clients
notice. A client that may have lost its way to the broker is helped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from typing import Any

from confluent_kafka import KafkaError

from flowdsl.brokers.kafka.bootstrap import Bootstrap, Handle
from flowdsl.brokers.kafka.errors import is_away, is_refused, is_unready

_CALLBACKS = ("stats_cb", "throttle_cb")
"""What users may be told of besides errors."""

logger = logging.getLogger("flowdsl")


class Reach:
    """What those who use one ``Kafka`` know of its broker together."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._without: set[Weather] = set()
        self._lock = Lock()

    def lost(self, weather: Weather, why: KafkaError | None) -> None:
        """This one noticed that it is away."""
        with self._lock:
            is_first = not self._without
            self._without.add(weather)
        if is_first:
            reason = "" if why is None else f" ({why.str()})"
            logger.warning("%s cannot be reached%s; waiting for it, nothing is lost", self._name, reason)

    def regained(self) -> None:
        """Somebody heard of it: the others will."""
        with self._lock:
            was_away = bool(self._without)
            self._without.clear()
        if was_away:
            logger.info("%s answers again", self._name)

    def leaves(self, weather: Weather) -> None:
        """This one waits no longer."""
        with self._lock:
            self._without.discard(weather)


class Weather:
    """The error callback of one client of librdkafka. It runs inside that client's poll and consume, so it never raises.

    ``reach``: where it tells what it notices; None for a client that is seldom asked, and hears of it too late. ``also``: the
    user's own ``error_cb``. Without a group nobody minds that groups are forbidden. ``bootstrap``: of this client.
    """

    def __init__(
        self,
        reach: Reach | None,
        also: Callable[[KafkaError], Any] | None = None,
        *,
        in_group: bool = False,
        bootstrap: Bootstrap | None = None,
    ) -> None:
        self._reach, self._also, self._in_group, self._bootstrap = reach, also, in_group, bootstrap
        self._last: KafkaError | None = None
        self._refusal: KafkaError | None = None
        self._was_here = False
        self.is_away = False
        self.fatal: KafkaError | None = None
        self.raised: BaseException | None = None
        """What a callback of the user's raised."""

    def __call__(self, error: KafkaError) -> None:
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED and not self._in_group:
            return
        if error.fatal():
            self.fatal = self.fatal or error
        elif is_refused(error):
            self.refused(error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  # librdkafka's own errors are named so
            self._went_away()
        elif is_away(error):
            self._last = error
        if self._also is not None:
            self._call(self._also, error)

    def guarded(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with callbacks that do not raise: librdkafka would throw away what it had read, and never close."""
        given = {name: settings[name] for name in _CALLBACKS if callable(settings.get(name))}
        return {**settings, **{name: partial(self._call, callback) for name, callback in given.items()}}

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except BaseException as raised:  # noqa: BLE001  # raised again by who polls, behind librdkafka's back
            self.raised = self.raised or raised

    def refused(self, error: KafkaError) -> None:
        """The broker does not let us in, or not do what we want to."""
        if self._in_group or error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            self._refusal = error

    def serve(self, client: Handle) -> None:
        """To be called often, by whoever polls the client."""
        if self._bootstrap is not None:
            self._bootstrap.serve(client)

    def not_answered(self, client: Handle) -> None:
        """A question got no answer."""
        if self._bootstrap is not None:
            self._bootstrap.not_answered(client)

    def came_back(self) -> None:
        """Something was answered."""
        self._was_here = True
        self._last = self._refusal = None
        if self._bootstrap is not None:
            self._bootstrap.answered()
        if self.is_away:
            self.is_away = False
            if self._reach is not None:
                self._reach.regained()

    def closes(self) -> None:
        """Nothing is heard any more."""
        if self._bootstrap is not None:
            self._bootstrap.ends()
        if self._reach is not None:
            self._reach.leaves(self)

    def refusal(self) -> KafkaError | None:
        """Why the broker does not let us in, if that is what is wrong."""
        return self._refusal

    def reason(self, error: KafkaError) -> KafkaError:
        """What is known to be behind an error: a time-out says less than a connection that was refused."""
        says_little = is_away(error) and not is_unready(error)
        return self._last if self._last is not None and says_little else error

    def _went_away(self) -> None:
        if self._bootstrap is not None:
            self._bootstrap.all_down()
        if self.is_away or not self._was_here:
            return  # one that was never there is an error of the first question, and told as one
        self.is_away = True
        if self._reach is not None:
            self._reach.lost(self, self._last or self._refusal)
