"""The job that is measured: JSON events of about 200 bytes are decoded, half are kept, a field is added, and lists of
1,000 go to a sink that does nothing.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import orjson

BATCH = 1000


class Event(msgspec.Struct):
    """The same as a type."""

    id: int
    user: str
    kind: str
    path: str
    agent: str
    price: float
    quantity: int
    paid: bool
    country: str
    total: float = 0.0


def events(count: int) -> list[bytes]:
    """The same events in every run."""
    dice = random.Random(1)  # noqa: S311  # repeatable on purpose
    return [orjson.dumps(event(number, dice)) for number in range(count)]


def event(number: int, dice: random.Random) -> dict[str, Any]:
    return {
        "id": number,
        "user": f"user-{dice.randrange(100_000):06d}",
        "kind": dice.choice(("view", "click", "order", "return")),
        "path": f"/products/{dice.randrange(10_000)}/details",
        "agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
        "price": round(dice.random() * 100, 2),
        "quantity": dice.randrange(1, 10),
        "paid": dice.random() < 0.5,
        "country": dice.choice(("de", "fr", "it", "pl")),
    }


decode = orjson.loads


def keep(event: dict[str, Any]) -> bool:
    return event["paid"] is True


def enrich(event: dict[str, Any]) -> dict[str, Any]:
    event["total"] = event["price"] * event["quantity"]
    return event


def keep_typed(event: Event) -> bool:
    return event.paid


def enrich_typed(event: Event) -> Event:
    event.total = event.price * event.quantity
    return event


def write(batch: list[Any]) -> None:
    """A sink that costs nothing."""


def hand_written(data: list[bytes]) -> None:
    """The loop that one would write by hand, calling the same functions."""
    batch: list[Any] = []
    for raw in data:
        event = decode(raw)
        if keep(event):
            batch.append(enrich(event))
            if len(batch) == BATCH:
                write(batch)
                batch = []
    if batch:
        write(batch)
