"""``scan``, ``distinct_until_changed`` and ``take`` at work: states per partition, and what survives a rebalance."""

from __future__ import annotations

from typing import Any

from flowdsl import (
    LocalBroker,
    Partition,
    Topic,
    distinct_until_changed,
    filter_,
    flat_map,
    from_iterable,
    scan,
    sink,
    take,
    tap,
    through,
    to_list,
)
from flowdsl.strategies import FilteredPayload, Message, ProcessingStrategy, ProcessingStrategyFactory
from flowdsl.testing import Driver
from flowdsl.types import Commit
from tests.strategies.doubles import Passing

P0, P1 = Partition(Topic("t"), 0), Partition(Topic("t"), 1)


def driver_of(*operators: Any) -> Driver:
    flow: Any = LocalBroker().source("t", group_id="g", decode=int)
    return Driver(flow.pipe(*operators, sink(lambda _: None)))


def send(driver: Driver, *values: int, partition: int = 0) -> None:
    for value in values:
        driver.send(str(value), partition=partition)


def add(total: int, value: int) -> int:
    return total + value


def test_scan_keeps_a_state_for_each_partition() -> None:
    driver = driver_of(scan(add, 0))
    for value, partition in ((1, 0), (10, 1), (2, 0), (20, 1)):
        send(driver, value, partition=partition)
    driver.close()
    assert driver.outputs == [1, 10, 3, 30]


def test_scan_tells_partitions_apart_that_came_later() -> None:
    driver = driver_of(scan(add, 0))
    send(driver, 1)
    driver.run_until_idle()
    for value, partition in ((10, 1), (2, 0), (20, 1), (3, 0), (30, 1), (4, 0)):
        send(driver, value, partition=partition)
    driver.close()
    assert driver.outputs == [1, 10, 3, 30, 6, 60, 10]


def test_scan_per_flow_has_one_state() -> None:
    driver = driver_of(scan(add, 0, per="flow"))
    send(driver, 1)
    send(driver, 10, partition=1)
    send(driver, 2)
    driver.close()
    assert driver.outputs == [1, 11, 13]


def test_scan_makes_a_fresh_state_for_each_partition() -> None:
    driver = driver_of(scan(lambda seen, value: [*seen, value], list))
    send(driver, 1)
    send(driver, 2, partition=1)
    driver.close()
    assert driver.outputs == [[1], [2]]


def test_state_goes_on_where_the_partition_goes_on() -> None:
    driver = driver_of(scan(add, 0))
    send(driver, 1, 2)
    send(driver, 10, partition=1)
    driver.run_until_idle()
    driver.revoke(1)
    send(driver, 3)
    driver.run_until_idle()
    assert driver.outputs == [1, 3, 10, 6]


class KeepingTens(Passing):
    """Hands on what is below 10, and keeps the rest for ever: a drain leaves it undone."""

    def submit(self, message: Message[Any]) -> None:
        if isinstance(message.payload, FilteredPayload) or message.payload < 10:
            super().submit(message)


class Keeping(ProcessingStrategyFactory[Any]):
    def create_with_partitions(
        self, commit: Commit, partitions: Any, downstream: Any = None
    ) -> ProcessingStrategy[Any]:
        return KeepingTens(downstream)


def test_state_goes_on_whatever_another_partition_left_undone() -> None:
    driver = driver_of(scan(add, 0), through(Keeping()))
    send(driver, 1, 2)
    send(driver, 10, partition=1)
    driver.run_until_idle()
    driver.revoke(1)
    send(driver, 3)
    driver.advance(2.0)
    assert driver.outputs == [1, 3, 6]
    assert driver.committed == {P0: 3}


def test_state_begins_anew_where_something_was_left_undone() -> None:
    driver = driver_of(scan(add, 0), through(Keeping()))
    send(driver, 1, 9, 2)
    send(driver, 5, partition=1)
    driver.run_until_idle()
    assert driver.outputs == [1, 5]
    driver.revoke(1)
    driver.run_until_idle()
    assert driver.outputs == [1, 5, 9], "10 and 12 are not done: 9 and 2 are read again, and counted from nothing"


def test_state_begins_anew_for_a_partition_that_is_read_again() -> None:
    driver = driver_of(scan(add, 0))
    send(driver, 1, 2)
    driver.run_until_idle()
    driver.crash()
    driver.restart()
    driver.run_until_idle()
    assert driver.outputs == [1, 3, 1, 3]


def test_failed_value_leaves_the_state_as_it_was() -> None:
    def strict(total: int, value: int) -> int:
        if value == 2:
            raise ValueError(value)
        return total + value

    flow: Any = from_iterable([1, 2, 3]) | scan(strict, 0, on_error="skip") | to_list()
    assert flow.run() == [1, 4]


def test_distinct_compares_within_a_partition() -> None:
    driver = driver_of(distinct_until_changed())
    for value, partition in ((1, 0), (1, 1), (1, 0), (2, 1), (2, 0), (1, 0)):
        send(driver, value, partition=partition)
    driver.advance(1.0)
    assert driver.outputs == [1, 1, 2, 2, 1]
    assert driver.committed == {P0: 4, P1: 2}


def test_distinct_per_flow_and_with_a_key() -> None:
    driver = driver_of(distinct_until_changed(lambda n: n // 10, per="flow"))
    for value, partition in ((1, 0), (2, 1), (11, 0), (12, 1), (1, 1)):
        send(driver, value, partition=partition)
    driver.close()
    assert driver.outputs == [1, 11, 1]


def test_take_ends_the_run_and_commits_what_its_values_complete_exactly() -> None:
    driver = driver_of(filter_(lambda n: n % 2 == 0), take(2))
    send(driver, 0, 1, 2, 3, 4)
    driver.run_until_idle()
    assert (driver.outputs, driver.committed) == ([0, 2], {P0: 3})
    driver.send("6")
    driver.close()
    assert driver.outputs == [0, 2]


def test_take_commits_no_record_of_which_a_value_is_left() -> None:
    driver = driver_of(flat_map(lambda n: [n] * 3), take(4))
    send(driver, 1, 2, 3)
    driver.run_until_idle()
    assert (driver.outputs, driver.committed) == ([1, 1, 1, 2], {P0: 1})


def test_take_counts_over_rebalances_of_one_run() -> None:
    driver = driver_of(take(3))
    send(driver, 1, 2)
    driver.run_until_idle()
    driver.revoke(0)
    driver.assign(0)
    send(driver, 3, 4)
    driver.run_until_idle()
    assert (driver.outputs, driver.committed) == ([1, 2, 3], {P0: 3})


def test_take_of_a_whole_run_leaves_the_rest_on_the_broker() -> None:
    broker = LocalBroker()
    broker.write("t", [str(number) for number in range(1000)])
    flow = broker.source("t", group_id="g", decode=int) | filter_(lambda n: n % 3 == 0) | take(5) | to_list()
    assert flow.run() == [0, 3, 6, 9, 12]
    assert broker.committed("g") == {P0: 13}
    assert flow.run() == [15, 18, 21, 24, 27]
    assert broker.committed("g") == {P0: 28}


def test_functions_see_each_value_once_in_order() -> None:
    seen: list[int] = []
    flow: Any = from_iterable(range(2000)) | tap(seen.append) | filter_(lambda n: n > 1997) | to_list()
    assert flow.run() == [1998, 1999]
    assert seen == list(range(2000))
