"""The group protocols of Kafka, by the settings that choose them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

COOPERATIVE = "cooperative"
EAGER = "eager"
KIP_848 = "kip-848"

PROTOCOLS: Mapping[str, Mapping[str, str]] = {
    COOPERATIVE: {},
    EAGER: {"partition.assignment.strategy": "range"},
    KIP_848: {"group.protocol": "consumer"},
}

SESSIONS: Mapping[str, Mapping[str, object]] = {
    COOPERATIVE: {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500},
    EAGER: {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500},
    KIP_848: {},  # the broker says how long: six seconds as well, see server.py
}
"""Short sessions, so that a member that died is missed soon."""

in_every_protocol = pytest.mark.parametrize("protocol", list(PROTOCOLS))


def settings_of(protocol: str) -> dict[str, object]:
    """The settings of a member that is missed after six seconds."""
    return {**PROTOCOLS[protocol], **SESSIONS[protocol]}
