"""What is done to members and to the broker, and when: from a seed."""

from __future__ import annotations

import random
from enum import StrEnum

from attrs import frozen

SESSION = 6.0
"""Seconds after which a member that is not heard of is taken for dead; see protocols.py and server.py."""


class Kind(StrEnum):
    JOIN = "a member joins"
    LEAVE = "a member is stopped"
    KILL = "a member is killed"
    FREEZE = "a member is frozen beyond its session"
    BROKER_PAUSE = "the broker hangs"
    BROKER_KILL = "the broker is killed and started again"
    BROKER_STOP = "the broker is stopped and started again"
    WORKER_KILL = "a worker process of a member is killed"


WEIGHTS = {
    Kind.JOIN: 5,
    Kind.LEAVE: 3,
    Kind.KILL: 3,
    Kind.FREEZE: 2,
    Kind.BROKER_PAUSE: 2,
    Kind.BROKER_KILL: 1,
    Kind.BROKER_STOP: 1,
    Kind.WORKER_KILL: 4,
}


@frozen
class Fault:
    """``after`` seconds from the one before; ``pick`` chooses the member, ``length`` says how many seconds it lasts."""

    after: float
    kind: Kind
    pick: int
    length: float


def plan(seed: int, seconds: float, *, with_workers: bool = False) -> list[Fault]:
    """Faults for about that many seconds; each kind comes once before chance decides.

    ``with_workers``: members have worker processes, which may be killed.

    >>> plan(1, 20) == plan(1, 20), plan(1, 20) == plan(2, 20)
    (True, False)
    """
    chance = random.Random(seed)  # noqa: S311  # repeatable on purpose
    kinds = [kind for kind in Kind if with_workers or kind is not Kind.WORKER_KILL]
    waiting = list(kinds)
    chance.shuffle(waiting)
    faults: list[Fault] = []
    passed = 0.0
    while passed < seconds:
        kind = waiting.pop() if waiting else chance.choices(kinds, [WEIGHTS[each] for each in kinds])[0]
        length = {
            Kind.FREEZE: SESSION + chance.uniform(1.0, 3.0),
            Kind.BROKER_PAUSE: chance.uniform(0.5, SESSION + 2.0),
            Kind.BROKER_KILL: chance.uniform(0.0, 2.0),
            Kind.BROKER_STOP: chance.uniform(0.0, 2.0),
        }.get(kind, 0.0)
        faults.append(Fault(chance.uniform(0.3, 2.5), kind, chance.randrange(1000), length))
        passed += faults[-1].after + (0.0 if kind is Kind.FREEZE else length)
    return faults
