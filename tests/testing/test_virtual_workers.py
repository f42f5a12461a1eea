"""In a ``Driver`` slow work runs in virtual time: nothing sleeps, no thread starts, and the order comes from a seed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flowdsl import LocalBroker, Partition, StepFailed, Topic, immediately, map_, retry, sink, threads, using
from flowdsl.testing import Driver

BROKER = LocalBroker()
PLACE = Partition(Topic("orders"), 0)


def orders() -> Any:
    return BROKER.source("orders", group_id="g")


def nothing(_: object) -> None:
    """A sink."""


def send(driver: Driver, count: int) -> None:
    for number in range(count):
        driver.send(b"%d" % number)


async def second(value: bytes) -> bytes:
    await asyncio.sleep(1.0)
    return value


@pytest.mark.parametrize("step", [map_(bytes.upper, concurrency=3), map_(bytes.upper, scheduler=threads(2))])
def test_plain_functions_run_at_once_and_no_thread_starts(step: Any):
    before = threading.active_count()
    driver = Driver(orders() | step | sink(nothing), commit=immediately)
    send(driver, 9)
    driver.run_until_idle()
    assert driver.outputs == [b"%d" % number for number in range(9)]
    assert driver.committed == {PLACE: 9}
    assert threading.active_count() == before
    driver.close()


def test_a_coroutine_sleeps_in_virtual_time():
    driver = Driver(orders() | map_(second, concurrency=2) | sink(nothing), commit=immediately)
    send(driver, 3)
    driver.run_until_idle()
    assert driver.outputs == []
    assert driver.in_flight == 3
    driver.advance(1.0)
    assert driver.outputs == [b"0", b"1"]
    driver.advance(1.0)
    assert driver.outputs == [b"0", b"1", b"2"]
    assert driver.committed == {PLACE: 3}
    driver.close()


def test_a_coroutine_that_takes_too_long_fails_at_its_time():
    driver = Driver(orders() | map_(second, timeout=0.5) | sink(nothing), commit=immediately)
    send(driver, 1)
    driver.advance(0.4)
    with pytest.raises(StepFailed) as failed:
        driver.advance(0.2)
    assert isinstance(failed.value.__cause__, TimeoutError)
    assert driver.clock() < 0.6


def test_close_waits_for_what_is_under_way():
    driver = Driver(orders() | map_(second, concurrency=2) | sink(nothing))
    send(driver, 5)
    driver.close()
    assert driver.outputs == [b"%d" % number for number in range(5)]
    assert driver.committed == {PLACE: 5}


def test_what_is_under_way_in_a_crash_comes_again():
    driver = Driver(orders() | map_(second, concurrency=2) | sink(nothing), commit=immediately)
    send(driver, 4)
    driver.advance(1.5)
    assert driver.outputs == [b"0", b"1"]
    driver.restart()
    driver.advance(5)
    assert driver.outputs == [b"0", b"1", b"2", b"3"]
    driver.close()


def test_partitions_that_are_taken_away_wait_for_what_begins_within_a_second_and_no_more():
    driver = Driver(orders() | map_(second, concurrency=2) | sink(nothing), commit=immediately)
    send(driver, 9)
    driver.advance(0.5)
    driver.revoke(0)
    assert driver.outputs == [b"0", b"1", b"2", b"3"]
    assert driver.committed == {PLACE: 4}
    driver.assign(0)
    driver.advance(10)
    assert driver.outputs == [b"%d" % number for number in range(9)]
    driver.close()


@pytest.mark.parametrize("order", [{"ordered": False}, {"key": lambda value: value}], ids=["unordered", "key"])
def test_a_record_that_waits_holds_back_the_offsets_and_no_other_record(order: dict[str, Any]):
    async def wait_at_one(value: bytes) -> bytes:
        await asyncio.sleep(10 if value == b"1" else 0)
        return value

    driver = Driver(orders() | map_(wait_at_one, concurrency=2, **order) | sink(nothing), commit=immediately)
    send(driver, 6)
    driver.advance(1)
    assert sorted(driver.outputs) == [b"0", b"2", b"3", b"4", b"5"]
    assert driver.committed == {PLACE: 1}
    driver.advance(10)
    assert driver.committed == {PLACE: 6}
    driver.close()


def test_a_retry_of_an_ordered_step_lets_other_partitions_pass():
    calls: list[bytes] = []

    async def flaky(value: bytes) -> bytes:
        calls.append(value)
        if value == b"bad" and calls.count(value) == 1:
            raise OSError
        return value

    flow = orders() | map_(flaky, concurrency=4, on_error=retry(2, first=5.0, jitter=False)) | sink(nothing)
    driver = Driver(flow, commit=immediately)
    for value, partition in ((b"a", 0), (b"bad", 0), (b"behind", 0), (b"b", 1), (b"c", 1)):
        driver.send(value, partition=partition)
    driver.run_until_idle()
    assert driver.outputs == [b"a", b"b", b"c"]
    driver.advance(6)
    assert driver.outputs == [b"a", b"b", b"c", b"bad", b"behind"]
    driver.close()


def test_resources_are_opened_once_and_closed_at_the_end():
    opened: list[str] = []

    class Resource:
        async def __aenter__(self) -> int:
            opened.append("open")
            await asyncio.sleep(0)
            return 1

        async def __aexit__(self, *_: object) -> None:
            opened.append("closed")

    async def use(one: int, value: bytes) -> bytes:
        return value * (one + 1)

    driver = Driver(orders() | map_(using(Resource, use), concurrency=2) | sink(nothing))
    send(driver, 3)
    driver.close()
    assert driver.outputs == [b"00", b"11", b"22"]
    assert opened == ["open", "closed"]


def test_a_driver_runs_inside_a_running_loop():
    async def main() -> Any:
        driver = Driver(orders() | map_(second) | sink(nothing))
        send(driver, 2)
        driver.advance(2)
        driver.close()
        await asyncio.sleep(0)
        return driver.outputs

    assert asyncio.run(main()) == [b"0", b"1"]


def test_what_is_done_and_cannot_leave_yet_lets_its_key_go_on_when_partitions_are_taken_away():
    async def soon(value: bytes) -> bytes:
        await asyncio.sleep(0.05)
        return value

    driver = Driver(orders() | map_(soon, concurrency=2, key=len) | sink(nothing), commit=immediately)
    send(driver, 4)
    driver.run_until_idle()
    for _ in range(100):
        driver.reject_next("nothing")
    driver.revoke(0)
    assert driver.outputs == [b"0", b"1", b"2", b"3"]
    assert driver.committed == {PLACE: 4}
    driver.close()
