# pyright: strict, reportUnusedExpression=false
"""Lines that mypy --strict and pyright must refuse, marked E, unless the comment names who misses it; the others are clean."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import reactivex

from flowdsl import (
    JSON,
    ClosedFlow,
    Flow,
    Fragment,
    Kafka,
    Stats,
    batch,
    broadcast,
    dead_letter,
    decode,
    distinct_until_changed,
    filter_,
    flat_map,
    fold,
    from_iterable,
    from_observable,
    map_,
    retry,
    route,
    scan,
    sink,
    take,
    tap,
    to_list,
    unbatch,
    with_record,
    using,
)


class Order:
    id: str
    paid: bool


class Client: ...


class Db:
    def write(self, values: Sequence[Order]) -> None: ...


def parse(raw: bytes) -> Order: return Order()
def paid(order: Order) -> bool: return order.paid
def total(order: Order) -> int: return 1
def add(state: int, order: Order) -> int: return state + 1
def packed(order: Order) -> bytes: return b""
def store(orders: list[Order]) -> None: ...
def keep(order: Order) -> None: ...
def paid_only(flow: Flow[Order]) -> Flow[Order]: return flow | filter_(paid)


broker = Kafka("localhost:9092")
raw = broker.source("orders")
orders = broker.source("orders", decode=parse)
clean = map_(parse) | filter_(paid)
german = filter_(paid) | sink(keep)

# The wrong type arrives
raw | filter_(paid)  # E
raw | tap(keep)  # E
raw | distinct_until_changed(paid)  # E
orders | map_(parse)  # E
orders | map_(len)  # E
orders | flat_map(paid)  # E
orders | unbatch()  # E
orders | decode(JSON)  # E
raw | paid_only  # E
raw | german  # E
raw.pipe(filter_(paid))  # E
raw.pipe(map_(parse), map_(parse))  # E
raw | scan(add, 0)  # E
orders | scan(add, "")  # E  mypy misses it
orders | fold(add, dict[str, int], size=3)  # E  mypy misses it
orders | scan(lambda state: state, 0)  # E
from_iterable(3)  # E

# Fragments
clean | clean  # E
filter_(paid) | map_(parse)  # E
map_(parse) | sink(store)  # E
batch(3) | sink(Db()) | map_(total)  # E
paid_only | map_(parse)  # E
paid_only | filter_(parse)  # E
paid_only | paid_only  # E
wrong: Fragment[Flow[str], Flow[Order]] = clean  # E

# Slow work
async def enrich(client: Client, order: Order) -> float: return 1.0
async def known(order: Order) -> bool: return True
def client() -> AbstractAsyncContextManager[Client]: raise NotImplementedError
raw | map_(using(client, enrich))  # E
raw | filter_(known)  # E
orders | map_(using(client, paid))  # E
orders | map_(total, concurrency="4")  # E
orders | map_(total, scheduler=4)  # E
orders | map_(total, ordered="no")  # E
orders | map_(total, timeout="1 s")  # E
orders | map_(known) | map_(total)  # E
orders | map_(total, on_error=retry("3"))  # E
orders | map_(total, on_error=retry(3, then="retry"))  # E
orders | map_(total, on_error=retry(3, only="OSError"))  # E
orders | sink(Db(), concurrency=4)  # E

# Ends
orders | sink(store)  # E
orders | batch(3) | sink(Db())  # E
orders | sink(keep) | map_(total)  # E
orders | broker.sink("copy")  # E
orders | broker.sink("copy", encode=total)  # E
raw | broker.sink("copy", encode=packed)  # E
orders | broker.sink("copy", key=1, encode=packed)  # E
orders.run()  # E
(orders | filter_(paid)).start()  # E
(orders | sink(keep)).run(until="now")  # E
(orders | sink(keep)).run(on_error=dead_letter(filter_(paid)))  # E
stats: ClosedFlow[Stats] = orders | to_list()  # E

# Observables
from_observable([1, 2])  # E
from_observable(reactivex.of(1), overflow="explode")  # E
from_observable(reactivex.of(1)) | map_(parse)  # E
(orders | sink(keep)).to_observable()  # E
orders.to_observable(progress=True)  # E

# Branches
orders | route(total, {1: german, 2: map_(total)})  # E
raw | route(lambda b: b, {b"DE": german})  # E
orders | route(parse, {1: german})  # E
orders | broadcast(german, map_(total))  # E
orders | broadcast(german, to_list())  # E
raw | broadcast(german, german)  # E

# Not an operator
orders | print  # E
orders | keep  # E
orders | total  # E
orders | batch  # E
orders | map_  # E
orders | to_list  # E
orders | with_record  # E
orders | take  # E
orders.pipe(print)  # E
map_(parse) | print  # E
orders | 3  # E
for order in orders: print(order)  # E

# Arguments
orders | map_(total, nme="total")  # E
orders | map_(total, on_error="ignore")  # E
orders | batch("3")  # E
orders | scan(add, 0, per="key")  # E
broker.source("orders", start="yesterday")  # E
Kafka(9092)  # E
broker.source("orders", tombstones="drop")  # E
