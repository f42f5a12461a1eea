"""A function that computes, on worker processes: a model is loaded once in each, order and offsets stay as they are.

Run it with: python examples/score_on_processes.py
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowdsl import JSON, LocalBroker, map_, processes, using

ORDERS = [{"id": n, "amount": 10.0 + n % 90, "items": n % 7} for n in range(2_000)]
ROUNDS = 200


@contextmanager
def model() -> Iterator[tuple[float, ...]]:
    """What takes long to load; here it is made up. Opened in each worker, closed when the run ends."""
    yield tuple(0.5 / (n + 1) for n in range(ROUNDS))


def score(weights: tuple[float, ...], order: dict[str, Any]) -> dict[str, Any]:
    """Several tens of microseconds of plain Python."""
    risk = 0.0
    for weight in weights:
        risk = (risk * 31 + weight * order["amount"] + order["items"]) % 1.0
    return {**order, "risk": round(risk, 6), "by": os.getpid()}


def main() -> None:
    broker = LocalBroker(partitions=2)
    broker.write("orders", ORDERS, encode=JSON, key=lambda order: str(order["id"]))
    flow = (
        broker.source("orders", group_id="scoring", decode=JSON)
        | map_(using(model, score), scheduler=processes(2))
        | broker.sink("scored", encode=JSON)  # key and partition: those of the record it came from
    )
    flow.run(until="end")

    scored = [record.value or {} for record in broker.read("scored", decode=JSON)]
    workers = {order["by"] for order in scored}
    print(
        f"{len(scored):,} orders scored by {len(workers)} processes, none of them this one: {os.getpid() not in workers}"
    )
    for topic, name in (("orders", "read"), ("scored", "written")):
        first = [(record.value or {})["id"] for record in broker.read(topic, decode=JSON)][:5]
        print(f"first orders as they were {name}: {first}")
    print("committed:", sum(broker.committed("scoring").values()))


if __name__ == "__main__":
    main()
