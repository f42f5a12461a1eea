"""Branches: every order is archived, and billed by the rules of its country; what cannot be billed is a dead letter.

Run it with: python examples/branches.py
"""

from collections.abc import Sequence
from typing import Any

from flowdsl import JSON, LocalBroker, batch, broadcast, dead_letter, map_, route, sink

ORDERS = [
    {"id": 1, "country": "DE", "net": 100.0},
    {"id": 2, "country": "FR", "net": 50.0},
    {"id": 3, "country": "unknown", "net": 10.0},
    {"id": 4, "country": "DE", "net": "ten"},
    {"id": 5, "country": "FR", "net": 20.0},
]


def german(order: dict[str, Any]) -> dict[str, Any]:
    return order | {"gross": round(order["net"] * 1.19, 2)}


def french(order: dict[str, Any]) -> dict[str, Any]:
    return order | {"gross": round(order["net"] * 1.20, 2)}


def archive(orders: Sequence[dict[str, Any]]) -> None:
    print("archived:", ", ".join(str(order["id"]) for order in orders))


def main() -> None:
    broker = LocalBroker()
    broker.write("orders", ORDERS, encode=JSON)

    bills = broker.sink("bills", key=lambda order: str(order["id"]), encode=JSON)
    billing = route(lambda order: order["country"], {"DE": map_(german) | bills, "FR": map_(french) | bills})
    flow = (
        broker.source("orders", group_id="billing", decode=JSON)
        | broadcast(batch(10, within=1.0) | sink(archive), billing)
    )  # fmt: skip

    flow.run(until="end", on_error=dead_letter(broker.sink("unbilled")))

    for bill in broker.read("bills", decode=JSON):
        print("billed:  ", bill.value)
    for letter in broker.read("unbilled"):
        headers = {name: (value or b"").decode() for name, value in letter.headers}
        print("unbilled:", letter.value.decode() if letter.value else None)
        print(f"          {headers['flowdsl-step']}: {headers['flowdsl-exception']}: {headers['flowdsl-message']}")
    print("committed:", {str(partition): offset for partition, offset in broker.committed("billing").items()})


if __name__ == "__main__":
    main()
