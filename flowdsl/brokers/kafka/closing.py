"""Ending what may never end: librdkafka waits for the broker in places where nothing tells it not to."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from confluent_kafka import Consumer

from flowdsl.brokers.kafka.weather import Weather
from flowdsl.clock import SYSTEM_CLOCK, Deadline

LONGEST_JOIN = 60.0
"""Seconds in which a member that leaves may hear what its group deals, also where nobody waits for it any more."""
_POLL = 0.05


def within(seconds: float, end: Callable[[], object]) -> bool:
    """Run this in a thread, and wait for it that long; False if it is not done. The process can end all the same."""
    thread = Thread(target=_quietly, args=(end,), name="flowdsl-kafka-close", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def leave(handle: Consumer, weather: Weather) -> None:
    """Close a member of a cooperative group.

    One without partitions, as all are while they join, would be closed by librdkafka (2.16) without a word to the group, which
    would wait for it until its session ends. It says so when it unsubscribes, once it is not joining any more. A broker
    that is away is not waited for: nobody hears it there.
    """
    try:
        if not handle.assignment():
            handle.unsubscribe()
            deadline = Deadline.after(SYSTEM_CLOCK, LONGEST_JOIN)
            while handle.memberid() and not deadline.expired and not weather.is_away:
                handle.poll(_POLL)
    finally:
        handle.close()


def _quietly(end: Callable[[], object]) -> None:
    try:
        end()
    except BaseException:  # noqa: BLE001  # callbacks of the user's are called too; it is over either way
        return
