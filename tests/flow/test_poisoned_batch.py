"""Three hundred records, of which one is poison, in batches of a hundred: what is written, committed, told, and read again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowdsl import LocalBroker, Partition, StepFailed, Topic, batch, dead_letter, filter_, flat_map, map_, sink
from flowdsl.testing import Driver

ORDERS = Partition(Topic("orders"), 0)
POISON = 137


class Poison(Exception):
    """Raised by the function that cannot stand number 137."""


def parse(value: bytes) -> int:
    number = int(value)
    if number == POISON:
        raise Poison("number 137")
    return number


LINE_OF_PARSE = parse.__code__.co_firstlineno


def mended(value: bytes) -> int:
    return int(value)


def broker_with_orders() -> LocalBroker:
    broker = LocalBroker()
    broker.create_topic("orders")
    broker.write("orders", [str(number).encode() for number in range(300)])
    return broker


def run(broker: LocalBroker, function: Any, written: list[list[int]], **policy: Any) -> Any:
    flow = broker.source("orders", group_id="g") | map_(function) | batch(100) | sink(written.append)
    return flow.run(until="end", **policy)


def numbers(written: list[list[int]]) -> list[int]:
    return [number for group in written for number in group]


def test_what_is_complete_is_written_and_committed_and_nothing_else() -> None:
    broker, written = broker_with_orders(), list[list[int]]()
    with pytest.raises(StepFailed):
        run(broker, parse, written)
    assert written == [list(range(100))]
    assert broker.committed("g") == {ORDERS: 100}


def test_group_that_is_open_is_dropped_also_where_the_record_fails_while_the_run_ends() -> None:
    """All is read by then, and the slow step has it still."""

    async def slow(value: bytes) -> bytes:
        await asyncio.sleep(0.05)
        return value

    broker, written = broker_with_orders(), list[list[int]]()
    steps = map_(slow, concurrency=300) | map_(parse) | batch(100)
    with pytest.raises(StepFailed):
        (broker.source("orders", group_id="g") | steps | sink(written.append)).run(until="end")
    assert numbers(written) == list(range(100))
    assert broker.committed("g") == {ORDERS: 100}


def test_what_was_filtered_before_the_failing_record_is_committed() -> None:
    broker, written = broker_with_orders(), list[int]()
    late = map_(int) | filter_(lambda number: number >= POISON)
    with pytest.raises(StepFailed):
        (
            broker.source("orders", group_id="g") | late | flat_map(lambda n: [parse(b"%d" % n)]) | sink(written.append)
        ).run(until="end")
    assert (written, broker.committed("g")) == ([], {ORDERS: POISON})


def test_error_names_the_record_the_step_and_the_function() -> None:
    broker = broker_with_orders()
    with pytest.raises(StepFailed) as info:
        run(broker, parse, [])
    failed = info.value
    assert (failed.step, failed.function) == ("parse", f"{__name__}.parse")
    assert (failed.file, failed.line) == (__file__, LINE_OF_PARSE)
    assert (failed.topic, failed.partition, failed.offset, failed.count) == ("orders", 0, POISON, 1)
    assert (failed.value, failed.input) == (b"137", b"137")
    assert isinstance(failed.__cause__, Poison)
    told = str(failed)
    for part in ("parse", "orders[0] offset 137", "Poison: number 137", f"{__file__}:{LINE_OF_PARSE}", "b'137'"):
        assert part in told


def test_restart_with_the_function_mended_brings_the_rest_and_repeats_nothing() -> None:
    broker, written = broker_with_orders(), list[list[int]]()
    with pytest.raises(StepFailed):
        run(broker, parse, [])
    stats = run(broker, mended, written)
    assert numbers(written) == list(range(100, 300))
    assert broker.committed("g") == {ORDERS: 300}
    assert (stats.read, stats.delivered) == (200, 2)


def test_skipping_writes_all_others_and_counts_the_one() -> None:
    broker, written = broker_with_orders(), list[list[int]]()
    stats = run(broker, parse, written, on_error="skip")
    assert numbers(written) == [number for number in range(300) if number != POISON]
    assert broker.committed("g") == {ORDERS: 300}
    assert (stats.failed, stats.delivered, stats.in_flight) == (1, 3, 0)


def test_dead_letter_gets_the_original_and_all_else_goes_on() -> None:
    broker, written = broker_with_orders(), list[list[int]]()
    stats = run(broker, parse, written, on_error=dead_letter(broker.sink("dead")))
    assert len(numbers(written)) == 299
    assert broker.committed("g") == {ORDERS: 300}
    (letter,) = broker.read("dead")
    assert letter.value == b"137"
    assert stats.failed == 1


def test_poison_in_the_sink_names_the_first_record_of_the_group_and_their_number() -> None:
    def insert(rows: list[int]) -> None:
        if POISON in rows:
            raise Poison("number 137")

    broker = broker_with_orders()
    flow = broker.source("orders", group_id="g") | map_(mended) | batch(100) | sink(insert)
    with pytest.raises(StepFailed) as info:
        flow.run(until="end")
    failed = info.value
    assert (failed.step, failed.offset, failed.count) == ("insert", 100, 100)
    assert (failed.value, failed.input) == (b"100", list(range(100, 200)))
    assert broker.committed("g") == {ORDERS: 100}


@pytest.mark.parametrize("on_error", ["skip", "dead_letter"])
def test_policy_for_a_group_is_for_all_of_it(on_error: str) -> None:
    def insert(rows: list[int]) -> None:
        if POISON in rows:
            raise Poison("number 137")
        kept.extend(rows)

    kept: list[int] = []
    broker = broker_with_orders()
    policy: Any = "skip" if on_error == "skip" else dead_letter(broker.sink("dead"))
    flow = broker.source("orders", group_id="g") | map_(mended) | batch(100) | sink(insert)
    flow.run(until="end", on_error=policy)
    assert kept == [*range(100), *range(200, 300)]
    assert broker.committed("g") == {ORDERS: 300}
    if on_error == "dead_letter":
        letters = broker.read("dead")
        assert [letter.value for letter in letters] == [str(number).encode() for number in range(100, 200)]
        assert {dict(letter.headers)["flowdsl-offset"] for letter in letters} == {
            str(n).encode() for n in range(100, 200)
        }


def test_filtered_records_behind_one_that_is_held_are_not_committed() -> None:
    flow: Any = (
        LocalBroker().source("orders", group_id="g") | filter_(lambda value: value == b"0") | batch(2) | sink(print)
    )
    driver = Driver(flow)
    for number in range(4):
        driver.send(str(number).encode())
    driver.advance(10.0)
    assert (driver.outputs, driver.committed, driver.in_flight) == ([], {}, 4)
    driver.crash()
    driver.restart()
    driver.close()
    assert driver.outputs == [[b"0"]]
    assert driver.committed == {ORDERS: 4}


def test_stop_in_mid_group_keeps_what_failed_out_of_the_commit() -> None:
    driver = Driver(LocalBroker().source("orders", group_id="g") | map_(parse) | batch(100) | sink(list[int]().extend))
    for number in range(300):
        driver.send(str(number).encode())
    with pytest.raises(StepFailed):
        driver.run_until_idle()
    assert (driver.outputs, driver.committed) == ([list(range(100))], {ORDERS: 100})
    driver.restart()
    with pytest.raises(StepFailed) as again:
        driver.run_until_idle()
    assert (again.value.offset, driver.outputs, driver.committed) == (POISON, [list(range(100))], {ORDERS: 100})
