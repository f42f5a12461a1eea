"""Tells a client of librdkafka its servers again. It may forget every broker that it knew, and finds none by itself then.

The last broker of a cluster that stops, or one of which its controller has not heard for a while, answers that the cluster
has no brokers. Librdkafka (2.10 to 2.16) forgets those that are not in such an answer, and would begin with the servers of its
configuration again. But where the connection ends before the answer is worked through, the one undoes the other, for good:
that client is without a broker until its process ends. It has a function that takes more servers in mid-run, which is what
helps; confluent-kafka does not offer it, so it is called here, and nowhere else.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, Producer, cimpl
from confluent_kafka.admin import AdminClient

from flowdsl.clock import SYSTEM_CLOCK, Clock, Deadline

Handle = Consumer | Producer | AdminClient
Add = Callable[[int, bytes], int]

AGAIN = (1.0, 3.0, 10.0, 30.0)
"""Seconds after the last broker went down: once would do, if librdkafka had worked its answer through by then."""
SHORTEST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds until the next question without an answer matters: librdkafka keeps all that it was ever told."""
FIRST, LAST = (2, 10), (2, 16)
"""The versions of confluent-kafka and of librdkafka that need it, and of which what ``_found`` says is known."""
_ONLY_CANONICAL = "resolve_canonical_bootstrap_servers_only"


class Bootstrap:
    """The servers that one client begins with. It does not keep the client, which ends with its last reference."""

    def __init__(self, servers: str, settings: Mapping[str, object], clock: Clock = SYSTEM_CLOCK) -> None:
        self._servers, self._clock = servers.encode(), clock
        # Names that are told in mid-run are not made canonical, and certificates and tickets would not fit them.
        self._is_over = settings.get("client.dns.lookup") == _ONLY_CANONICAL
        self._due: deque[Deadline] = deque()
        self._rest = Deadline(clock, 0.0)
        self._seconds = SHORTEST_REST

    def all_down(self) -> None:
        """Librdkafka says that no broker is up."""
        self._due = deque(Deadline.after(self._clock, seconds) for seconds in AGAIN)

    def serve(self, handle: Handle) -> None:
        """Tell it where that is due; called often."""
        if self._due and self._due[0].expired:
            self._due.popleft()
            self.tell(handle)

    def not_answered(self, handle: Handle) -> None:
        """A question got no answer: the next one may."""
        if self._rest.expired:
            self._rest = Deadline.after(self._clock, self._seconds)
            self._seconds = min(2 * self._seconds, LONGEST_REST)
            self.tell(handle)

    def answered(self) -> None:
        self._seconds = SHORTEST_REST

    def ends(self) -> None:
        """The client is about to be closed, perhaps by another thread."""
        self._is_over = True

    def tell(self, handle: Handle) -> None:
        """Waits for nothing. One that knows the servers already may connect to them once more, until it hears who else is there."""
        if _add is None or self._is_over:
            return
        pointer = ctypes.c_void_p.from_address(id(handle) + object.__basicsize__).value
        if pointer is not None:  # else it was closed
            _add(pointer, self._servers)


def _found() -> Add | None:
    """``rd_kafka_brokers_add`` of the librdkafka that confluent-kafka uses. None where it cannot be had, as on Windows.

    In these versions librdkafka's own handle is the first thing behind the head of the Python object.
    """
    numbers = [re.findall(r"\d+", str(told))[:2] for told in (cimpl.version(), cimpl.libversion())]
    is_known = all(FIRST <= (int(major), int(minor)) <= LAST for major, minor in numbers)
    if sys.implementation.name != "cpython" or not is_known:
        return None
    try:
        add = ctypes.CDLL(cimpl.__file__).rd_kafka_brokers_add
    except (OSError, AttributeError):
        return None
    add.argtypes, add.restype = (ctypes.c_void_p, ctypes.c_char_p), ctypes.c_int
    return add


_add = _found()
