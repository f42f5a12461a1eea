"""The flows on which slow work is simulated: each kind of function, each order, failures that are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from flowdsl import (
    batch,
    broadcast,
    dead_letter,
    filter_,
    flat_map,
    map_,
    retry,
    scan,
    sink,
    tap,
    threads,
    through,
    to_list,
    with_record,
)
from flowdsl.errors import InvalidMessage
from flowdsl.strategies import Commit, Message, Partition, ProcessingStrategy, RunTask
from flowdsl.types import Record
from tests.mutation.flows import (
    BROKER,
    Case,
    Refusing,
    RefusingAtTheEnd,
    Truth,
    even,
    is_wanted,
    nothing,
    orders,
)

PATIENT = retry(6, first=0.05, most=0.4)
TOGETHER = retry(6, first=0.1, most=0.1, jitter=False)
"""What fails at one moment is tried again at one moment."""


def upper(value: bytes) -> bytes:
    return value.upper()


async def later(value: bytes) -> bytes:
    await asyncio.sleep(0.01 * (value[-1] % 4))
    return value.upper()


async def later_even(value: bytes) -> bytes:
    await asyncio.sleep(0.01 * (value[-1] % 3))
    return even(value)


async def later_wanted(value: bytes) -> bool:
    await asyncio.sleep(0)
    return is_wanted(value)


async def later_nothing(_: bytes) -> None:
    """A sink."""


def key_of(value: bytes) -> int:
    return value[-1] % 3


def in_order(state: dict[Any, Any], pair: tuple[bytes, Record[Any]]) -> dict[Any, Any]:
    """Raises where the values of a key do not come in the order of their offsets."""
    value, record = pair
    key = key_of(value)
    if record.offset < state.get(key, -1):
        text = f"{value!r} came after the one at offset {state[key]}"
        raise AssertionError(text)
    return {**state, key: record.offset, "last": value}


class InvalidAtFirst:
    """Calls a value in five invalid, once."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int], downstream: ProcessingStrategy[Any]
    ) -> ProcessingStrategy[Any]:
        known = set[bytes]()

        def at_second(message: Message[bytes]) -> bytes:
            value = message.payload
            if int(value[1:]) % 5 == 0 and value not in known:
                known.add(value)
                raise InvalidMessage.from_value(message)
            return value

        return RunTask(at_second, RunTask(_same, downstream))


def _same(message: Message[bytes]) -> bytes:
    return message.payload


def slow_cases() -> dict[str, Case]:
    """All flows, by name."""
    letters = BROKER.sink("dead")
    return {
        "tried again together": Case(  # the first, since what it shows is seen by few seeds
            orders()
            | map_(even, on_error=retry(3, first=0.1, jitter=False, then="skip"))
            | map_(upper, on_error=TOGETHER)
            | sink(nothing)
        ),
        "threads, in order": Case(orders() | map_(upper, concurrency=3) | sink(nothing)),
        "threads, as ready": Case(
            orders() | map_(upper, concurrency=3, ordered=False) | batch(3, within=0.3) | sink(nothing)
        ),
        "threads, by key": Case(orders() | map_(upper, concurrency=3, key=key_of) | filter_(bool) | sink(nothing)),
        "coroutines, in order": Case(orders() | map_(later, concurrency=4) | batch(4, within=0.3) | sink(nothing)),
        "coroutines, as ready": Case(orders() | map_(later, concurrency=4, ordered=False) | sink(nothing)),
        "coroutines, by key": Case(orders() | tap(later, concurrency=4, key=key_of) | BROKER.sink("out")),
        "one coroutine at a time": Case(orders() | filter_(later_wanted) | sink(nothing)),
        "several of one": Case(
            orders() | flat_map(lambda value: [value, value + b"+"], scheduler=threads(3)) | batch(3) | sink(nothing)
        ),
        "threads, by key, looked at": Case(
            orders()
            | with_record()
            | map_(lambda pair: (pair[0].upper(), pair[1]), concurrency=3, key=lambda pair: key_of(pair[0]))
            | scan(in_order, dict)
            | map_(lambda state: state["last"])
            | sink(nothing)
        ),
        "slow filter": Case(
            orders() | filter_(is_wanted, concurrency=3, ordered=False) | batch(3, within=0.3) | to_list()
        ),
        "slow filter that cannot tell": Case(orders() | filter_(Truth, concurrency=3, on_error="skip") | sink(nothing)),
        "slow filter that cannot tell, as ready": Case(
            orders() | filter_(Truth, concurrency=3, ordered=False, on_error="skip") | sink(nothing)
        ),
        "slow sink": Case(orders() | filter_(is_wanted) | sink(later_nothing, concurrency=3)),
        "slow sink, by key": Case(orders() | sink(nothing, concurrency=3, key=key_of)),
        "two slow steps": Case(
            orders() | map_(upper, concurrency=2) | map_(later, concurrency=3, ordered=False) | sink(nothing)
        ),
        "in a branch": Case(
            orders()
            | broadcast(
                map_(later, concurrency=3, ordered=False) | sink(nothing, name="slow"),
                batch(3, within=0.3) | sink(nothing, name="fast"),
            )
        ),
        "skipped": Case(orders() | map_(even, concurrency=3, on_error="skip") | sink(nothing)),
        "dead letters": Case(
            orders() | map_(later_even, concurrency=3, ordered=False, on_error=dead_letter(letters)) | sink(nothing)
        ),
        "dead letters, in order": Case(
            orders() | map_(later_even, concurrency=3, on_error=dead_letter(letters)) | sink(nothing)
        ),
        "tried again, in place": Case(orders() | map_(upper, on_error=PATIENT) | batch(3, within=0.3) | sink(nothing)),
        "tried again, then skipped": Case(
            orders()
            | map_(even, on_error=retry(3, first=0.1, then="skip"))
            | map_(upper, on_error=PATIENT)
            | sink(nothing)
        ),
        "tried again, then a dead letter": Case(
            orders() | map_(even, on_error=retry(3, first=0.1, then=dead_letter(letters))) | sink(nothing)
        ),
        "several of one, tried again": Case(
            orders() | flat_map(lambda value: [value, value + b"+"], on_error=PATIENT) | sink(nothing)
        ),
        "a group tried again": Case(orders() | batch(3, within=0.3) | map_(list, on_error=PATIENT) | sink(nothing)),
        "tried again elsewhere": Case(orders() | map_(later, concurrency=3, on_error=PATIENT) | sink(nothing)),
        "tried again elsewhere, by key": Case(
            orders() | map_(upper, concurrency=3, key=key_of, on_error=PATIENT) | sink(nothing)
        ),
        "produced again": Case(orders() | BROKER.sink("out", on_error=PATIENT)),
        "produced again, then a dead letter": Case(
            orders() | BROKER.sink("out", on_error=retry(2, first=0.1, then=dead_letter(letters)))
        ),
        "given again": Case(orders() | through(InvalidAtFirst(), on_error=PATIENT) | sink(nothing)),
        "given again, in vain": Case(
            orders()
            | through(Refusing(), on_error=retry(2, first=0.1, then=dead_letter(letters)))
            | batch(2, within=0.3)
            | sink(nothing)
        ),
        "given again at the end": Case(
            orders() | through(RefusingAtTheEnd(), on_error=retry(2, first=0.1, then=dead_letter(letters)))
        ),
        "in time": Case(orders() | map_(upper, concurrency=2, timeout=0.5, on_error=PATIENT) | sink(nothing)),
        "in time, as ready": Case(
            orders() | map_(upper, concurrency=2, ordered=False, timeout=0.5, on_error=PATIENT) | sink(nothing)
        ),
        "in time, by key": Case(
            orders() | map_(upper, concurrency=2, key=key_of, timeout=0.5, on_error=PATIENT) | sink(nothing)
        ),
        "coroutines in time": Case(
            orders() | map_(later, concurrency=3, ordered=False, timeout=0.5, on_error=PATIENT) | sink(nothing)
        ),
    }


SLOW_CASES = slow_cases()
