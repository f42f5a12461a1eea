"""How long a read may wait: not at all behind a full one, and otherwise until the first thing that is due."""

from __future__ import annotations

from typing import NoReturn

import pytest

from flowdsl import batch, filter_, from_iterable, sink
from flowdsl.brokers.memory import MemoryConsumer, MemoryRecords
from flowdsl.processing.waiting import READ_SECONDS, Waiting
from flowdsl.testing import VirtualClock


def never_asked() -> NoReturn:
    raise AssertionError("nobody waits: when is of no interest")


def test_a_read_waits_until_the_first_moment() -> None:
    clock = VirtualClock()
    now = clock()
    assert Waiting(clock, None, None).to_read(lambda: None) == pytest.approx(READ_SECONDS)
    assert Waiting(clock, None, now + 0.02).to_read(lambda: now + 0.05) == pytest.approx(0.02)
    assert Waiting(clock, None, now + 0.05).to_read(lambda: None, lambda: now + 0.01) == pytest.approx(0.01)
    assert Waiting(clock, None, now - 1.0).to_read(lambda: None) == 0.0


def test_a_read_behind_a_full_one_waits_for_nothing() -> None:
    waiting = Waiting(VirtualClock(), None, None)
    waiting.was_full = True
    assert waiting.to_read(never_asked) == 0.0


def test_a_run_waits_behind_the_reads_that_were_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    was_full, waits = [False], list[tuple[bool, bool]]()
    read = MemoryConsumer.read

    def noted(self: MemoryConsumer, limit: int, timeout: float) -> MemoryRecords:
        waits.append((was_full[-1], timeout > 0))
        records = read(self, limit, timeout)
        was_full.append(len(records) == limit)
        return records

    monkeypatch.setattr(MemoryConsumer, "read", noted)
    (from_iterable(list(range(20_000))) | sink(lambda _: None)).run()
    assert set(waits) == {(False, True), (True, False)}


class Traced:
    """A value that is counted while it is alive."""

    alive = most = 0

    def __init__(self, number: int) -> None:
        self.number = number
        Traced.alive += 1
        Traced.most = max(Traced.most, Traced.alive)

    def __del__(self) -> None:
        Traced.alive -= 1


def test_values_that_were_filtered_out_do_not_live_as_long_as_an_open_group() -> None:
    groups: list[list[Traced]] = []
    source = from_iterable(map(Traced, range(30_000)))
    (source | filter_(lambda value: value.number == 0) | batch(2) | sink(groups.append)).run()
    assert [[value.number for value in group] for group in groups] == [[0]]
    assert Traced.most < 10_000
