# pyright: strict
"""Lines that mypy --strict and pyright must accept, with the types that they must find; never run, only checked."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, assert_type

import reactivex
from reactivex.scheduler import ThreadPoolScheduler

from flowdsl import (
    INHERIT,
    JSON,
    TEXT,
    ClosedFlow,
    Flow,
    Fragment,
    Kafka,
    LocalBroker,
    Partition,
    Record,
    RunHandle,
    Stats,
    batch,
    broadcast,
    connect,
    dead_letter,
    decode,
    distinct_until_changed,
    encode,
    filter_,
    flat_map,
    fold,
    from_iterable,
    from_observable,
    last,
    map_,
    merge,
    retry,
    processes,
    route,
    scan,
    sink,
    take,
    tap,
    threads,
    through,
    to_list,
    unbatch,
    using,
    with_record,
)
from flowdsl.interface.strategy import ProcessingStrategy

T = TypeVar("T")


@dataclass
class Order:
    id: str
    paid: bool
    items: list[str]


class Client: ...


class Db:
    def write(self, values: Sequence[Order]) -> None: ...
    def flush(self) -> None: ...


class Middle:
    def create_with_partitions(
        self, commit: Any, partitions: Mapping[Partition, int], downstream: ProcessingStrategy[str]
    ) -> ProcessingStrategy[Order]:
        raise NotImplementedError


class End:
    def create_with_partitions(self, commit: Any, partitions: Mapping[Partition, int]) -> ProcessingStrategy[Order]:
        raise NotImplementedError


def parse(raw: bytes) -> Order: return Order("1", True, [])
def paid(order: Order) -> bool: return order.paid
def total(order: Order) -> int: return len(order.items)
def price(order: Order) -> float: return 1.0
def items(order: Order) -> list[str]: return order.items
def each(order: Order) -> Iterator[str]: yield order.id
async def fetch(order: Order) -> float: return 1.0
async def fetch_all(order: Order) -> list[float]: return []
async def is_known(order: Order) -> bool: return True
async def keep_later(order: Order) -> None: ...
async def enrich(client: Client, order: Order) -> float: return 1.0
def enrich_now(client: Client, order: Order) -> float: return 1.0
def client() -> AbstractAsyncContextManager[Client]: raise NotImplementedError
def plain_client() -> AbstractContextManager[Client]: raise NotImplementedError
def add(state: int, order: Order) -> int: return state + 1
def count(state: dict[str, int], order: Order) -> dict[str, int]: return state
def latest(state: Order | None, order: Order) -> Order | None: return order
def mean(state: float, order: Order) -> float: return state
def packed(order: Order) -> bytes: return order.id.encode()
def store(orders: list[Order]) -> None: ...
def store_seq(orders: Sequence[Order]) -> None: ...
def store_any(orders: Iterable[Order]) -> None: ...
def keep(order: Order) -> None: ...
def pairs(rows: list[tuple[Order, Record[bytes | None]]]) -> None: ...
def paid_only(flow: Flow[Order]) -> Flow[Order]: return flow | filter_(lambda order: order.paid)
def closing(flow: Flow[Order]) -> ClosedFlow[Stats]: return flow | sink(keep)
def by_hundreds(flow: Flow[T]) -> Flow[list[T]]: return flow | batch(100)
def first(n: int) -> Callable[[Flow[T]], Flow[T]]: return take(n)
def only(wanted: Callable[[T], bool]) -> Callable[[Flow[T]], Flow[T]]: return filter_(wanted)


# Sources
broker = Kafka("localhost:9092", {"security.protocol": "PLAINTEXT"})
assert_type(LocalBroker(partitions=4).source("orders"), Flow[bytes])
raw = broker.source("orders", group_id="g")
orders = broker.source(["web", "app"], group_id="g", decode=parse, start="latest")
assert_type(raw, Flow[bytes])
assert_type(orders, Flow[Order])
assert_type(connect().source("orders", decode=TEXT, start=last(10)), Flow[str])
assert_type(broker.source("orders", decode=JSON), Flow[Any])
assert_type(broker.source("orders", decode=JSON(Order)), Flow[Order])
assert_type(broker.source("orders", decode=lambda b: b.decode()), Flow[str])
assert_type(broker.source("orders", tombstones="keep"), Flow[bytes | None])
assert_type(broker.source("orders", decode=parse, tombstones="keep"), Flow[Order | None])
assert_type(from_iterable([1, 2]), Flow[int])
assert_type(from_iterable(lambda: [1, 2]), Flow[int])
assert_type(merge(orders, broker.source("x", decode=TEXT)), Flow[Order | str])

# Operators one by one
assert_type(raw | map_(parse), Flow[Order])
assert_type(orders | map_(lambda o: len(o.items)), Flow[int])
assert_type(orders | map_(fetch, concurrency=64, key=lambda o: o.id, timeout=3.0), Flow[float])
assert_type(orders | map_(fetch), Flow[float])
assert_type(orders | map_(total, scheduler=threads(4), ordered=False), Flow[int])
assert_type(orders | map_(total, scheduler=processes(4), concurrency=64), Flow[int])
assert_type(orders | map_(total, scheduler=ThreadPoolScheduler(4), concurrency=4, on_error=retry(3)), Flow[int])
assert_type(orders | filter_(is_known, concurrency=4), Flow[Order])
assert_type(orders | filter_(paid, concurrency=4, timeout=timedelta(seconds=1)), Flow[Order])
assert_type(orders | tap(keep_later, concurrency=4) | tap(keep, concurrency=2), Flow[Order])
assert_type(orders | flat_map(fetch_all, concurrency=3), Flow[float])
assert_type(orders | flat_map(items, concurrency=3), Flow[str])
enriched = using(client, enrich)
assert_type(orders | map_(enriched, scheduler=threads(4)), Flow[float])
assert_type(orders | map_(using(client, enrich)), Flow[float])
assert_type(orders | map_(using(plain_client, enrich_now), concurrency=8), Flow[float])
assert_type(orders | map_(using(client, lambda c, o: 1.0), concurrency=8), Flow[float])
assert_type(orders | sink(keep_later, concurrency=8, key=lambda o: o.id), ClosedFlow[Stats])
assert_type(orders | sink(using(client, enrich), concurrency=8), ClosedFlow[Stats])
assert_type((orders | map_(fetch) | to_list()).run(until="end"), list[float])
assert_type((orders | sink(keep)).start(on_error=retry(3, then=dead_letter(broker.sink("dead")))), RunHandle[Stats])
assert_type(raw | (map_(parse) | tap(lambda o: print(o.id)) | filter_(lambda o: o.paid) | map_(fetch)), Flow[float])
assert_type(orders | route(lambda o: o.id, {"DE": map_(fetch), "FR": map_(fetch)}), Flow[float])
assert_type(orders | filter_(paid), Flow[Order])
assert_type(orders | filter_(lambda o: o.paid, name="paid", on_error="skip"), Flow[Order])
assert_type(orders | tap(lambda o: print(o.id)) | filter_(lambda o: o.paid) | map_(total), Flow[int])
assert_type(orders | flat_map(items), Flow[str])
assert_type(orders | flat_map(each), Flow[str])
assert_type(orders | flat_map(lambda o: [o.id]) | to_list(), ClosedFlow[list[Any]])
assert_type(orders | with_record(), Flow[tuple[Order, Record[bytes | None]]])
assert_type(orders | scan(add, 0), Flow[int])
assert_type(orders | scan(latest, None), Flow[Order | None])
assert_type(orders | scan(mean, 0), Flow[float])
assert_type(orders | scan(lambda n, o: n + len(o.items), 0), Flow[int])
assert_type(orders | scan(count, dict), Flow[dict[str, int]])
assert_type(orders | scan(lambda s, o: {**s, o.id: 1}, dict[str, int]), Flow[dict[str, int]])
assert_type(from_iterable([1, 2]) | scan(operator.add, 0, per="flow"), Flow[int])
assert_type(orders | fold(lambda n, o: n + len(o.items), 0, size=10, within=1.0), Flow[int])
assert_type(orders | fold(count, dict, size=10), Flow[dict[str, int]])
assert_type(orders | distinct_until_changed(), Flow[Order])
assert_type(orders | distinct_until_changed(lambda o: o.id), Flow[Order])
assert_type(orders | take(3) | batch(2), Flow[list[Order]])
assert_type(orders | flat_map(items) | batch(2) | unbatch(), Flow[str])
assert_type(raw | decode(parse) | encode(packed), Flow[bytes])
assert_type(raw | decode(JSON), Flow[Any])
assert_type(raw | decode(JSON(Order)), Flow[Order])
assert_type(orders | encode(JSON), Flow[bytes])
assert_type(orders | map_(total) | encode(str), Flow[str])
assert_type(orders | through(Middle()), Flow[str])

# Ends
assert_type(orders | sink(keep), ClosedFlow[Stats])
assert_type(orders | sink(lambda o: print(o.id)), ClosedFlow[Stats])
assert_type(orders | filter_(bool) | map_(str) | sink(print), ClosedFlow[Stats])
assert_type(orders | sink(Db()), ClosedFlow[Stats])
assert_type(orders | batch(3) | sink(store), ClosedFlow[Stats])
assert_type(orders | batch(3) | sink(store_seq), ClosedFlow[Stats])
assert_type(orders | batch(3) | sink(store_any), ClosedFlow[Stats])
assert_type(orders | with_record() | batch(3) | sink(pairs), ClosedFlow[Stats])
assert_type(orders | through(End()), ClosedFlow[Stats])
assert_type(raw | broker.sink("copy"), ClosedFlow[Stats])
assert_type(
    orders | broker.sink("copy", key=lambda o: o.id, headers=None, timestamp=INHERIT, encode=JSON), ClosedFlow[Stats]
)
assert_type(orders | broker.sink(lambda o: o.id, key=None, encode=packed), ClosedFlow[Stats])
assert_type(orders | broker.sink("copy", encode=lambda o: o.id), ClosedFlow[Stats])
assert_type(orders | map_(total) | broker.sink("copy", encode=str), ClosedFlow[Stats])
assert_type(broker.source("x", decode=parse, tombstones="keep") | broker.sink("copy", encode=packed), ClosedFlow[Stats])
assert_type((orders | map_(price) | to_list()).run(until="end"), list[float])
assert_type((orders | sink(keep)).start(on_error=dead_letter(broker.sink("dead"))), RunHandle[Stats])
assert_type((orders | sink(keep)).run(on_error=dead_letter(map_(parse) | sink(keep))), Stats)
assert_type(broker.write("orders", [Order("1", True, [])], key=lambda o: o.id, encode=packed), int)

# Fragments
clean = map_(parse) | filter_(paid)
alerts = filter_(lambda o: o["urgent"]) | broker.sink("alerts", key=lambda o: o["id"], encode=JSON)
archive = batch(1000, within=5.0) | sink(store)
assert_type(clean, Fragment[Flow[bytes], Flow[Order]])
assert_type(archive, Fragment[Flow[Order], ClosedFlow[Stats]])
assert_type(filter_(paid) | map_(total), Fragment[Flow[Order], Flow[int]])
assert_type(filter_(lambda o: o.paid) | map_(total), Fragment[Flow[Order], Flow[int]])
assert_type(raw | clean, Flow[Order])
assert_type(orders | alerts, ClosedFlow[Stats])
assert_type(raw | (map_(parse) | tap(lambda o: print(o.id)) | filter_(lambda o: o.paid) | map_(price)), Flow[float])
assert_type(orders | (batch(3) | filter_(lambda rows: len(rows) > 1) | sink(store)), ClosedFlow[Stats])
same: Flow[Order] = orders | (filter_(lambda o: o.paid) | tap(lambda o: print(o.id)))  # Any to mypy
assert_type(orders | (batch(3) | take(2) | sink(store)), ClosedFlow[Stats])
assert_type(orders | (take(2) | batch(2) | unbatch() | filter_(paid) | to_list()), ClosedFlow[list[Order]])
free = filter_(lambda o: o["a"]) | map_(lambda o: o["b"])
assert_type(raw | decode(JSON) | free | to_list(), ClosedFlow[list[Any]])

# A user's own functions
assert_type(raw | clean | paid_only | by_hundreds, Flow[list[Order]])
assert_type(orders | first(3) | only(paid), Flow[Order])
assert_type(map_(parse) | paid_only, Fragment[Flow[bytes], Flow[Order]])
as_function: Callable[[Flow[Order]], Flow[Order]] = filter_(paid)
assert_type(paid_only | map_(total), Fragment[Flow[Order], Flow[int]])
assert_type(paid_only | filter_(lambda o: o.paid), Fragment[Flow[Order], Flow[Order]])
assert_type(paid_only | filter_(paid), Fragment[Flow[Order], Flow[Order]])
assert_type(paid_only | batch(2), Fragment[Flow[Order], Flow[list[Order]]])
assert_type(paid_only | batch(2) | sink(store), Fragment[Flow[Order], ClosedFlow[Stats]])
assert_type(orders | (paid_only | map_(lambda o: o.id) | sink(print)), ClosedFlow[Stats])

# pipe
assert_type(raw.pipe(map_(parse)), Flow[Order])
assert_type(orders.pipe(filter_(lambda o: o.paid), batch(2), take(3)), Flow[list[Order]])
assert_type(orders.pipe(scan(lambda n, o: n + 1, 0), filter_(lambda n: n > 1)), Flow[int])
assert_type(raw.pipe(clean, paid_only, tap(lambda o: print(o.id)), by_hundreds), Flow[list[Order]])

# Observables
numbers: reactivex.Observable[int] = reactivex.of(1, 2)
assert_type(from_observable(numbers), Flow[int])
assert_type(from_observable(numbers, capacity=5, overflow="drop_old") | map_(str) | to_list(), ClosedFlow[list[str]])
assert_type(orders.to_observable(), reactivex.Observable[Order])
assert_type((orders | map_(total)).to_observable(until="end", on_error="skip"), reactivex.Observable[int])

# Branches
german = filter_(paid) | sink(keep)
french = map_(price) | sink(print)
assert_type(raw | clean | broadcast(german, french, archive, closing, sink(lambda o: print(o.id))), ClosedFlow[Stats])
assert_type(orders | broadcast(filter_(paid), filter_(paid)), Flow[Order])
assert_type(orders | broadcast(filter_(paid) | map_(total), map_(total)), Flow[int])
assert_type(
    broker.source("x", decode=JSON) | broadcast(alerts, filter_(lambda o: o["late"]) | sink(print)), ClosedFlow[Stats]
)
assert_type(
    orders | route(lambda o: o.id, {"DE": german, "FR": french, "IT": closing}, default=archive), ClosedFlow[Stats]
)
assert_type(orders | route(total, {1: german}), ClosedFlow[Stats])
assert_type(orders | route(lambda o: o.id, {"DE": filter_(paid), "FR": filter_(paid)}), Flow[Order])
some: Flow[Order] = orders | route(lambda o: o.id, {"DE": filter_(lambda o: o.paid), "FR": paid_only})  # Any to mypy
assert_type(
    orders | (filter_(lambda o: o.paid) | broadcast(german, batch(2) | take(2) | sink(store))), ClosedFlow[Stats]
)
mixed: Flow[object] = orders | broadcast(batch(2), take(3), filter_(lambda o: o.paid), map_(price))  # a union to pyright
twice: Flow[Order] = orders | broadcast(filter_(lambda o: o.paid), filter_(lambda o: o.paid))  # Flow[Any] to pyright
assert_type(
    orders | route(lambda o: o.id, {"DE": paid_only | map_(price), "FR": filter_(paid) | map_(price)}), Flow[float]
)
assert_type(orders | route(lambda o: o.id, {"DE": map_(price), "FR": map_(price)}), Flow[float])
single: Fragment[Flow[bytes], Flow[Order]] = map_(parse)
