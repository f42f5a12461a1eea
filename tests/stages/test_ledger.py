"""The ledger against a plain list of records, each with a note whether it is done."""

from __future__ import annotations

from collections import Counter
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.stages import ledger as ledgers
from flowdsl.stages.ledger import Ledger
from flowdsl.types import Partition
from tests.stages.rows import PLACES, Row, Rows, windows


class Model:
    """What was accepted, and what is done of it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.ends: list[tuple[int, dict[Partition, int]]] = []
        self.reached = 0
        self.held: Counter[int] = Counter()

    def accept(self, rows: Rows) -> None:
        self.rows += rows.rows
        if rows.positions:
            self.ends.append((len(self.rows), dict(rows.positions)))

    @property
    def done(self) -> int:
        return min([self.reached, *(number for number, count in self.held.items() if count)])

    def committable(self) -> dict[Partition, int]:
        """Behind the last record of each partition that is done with all before it; or where its read ended."""
        offsets: dict[Partition, int] = {}
        for place, offset in self.rows[: self.done]:
            offsets[place] = offset + 1
        for stop, positions in self.ends:
            if stop <= self.done:
                for place, position in positions.items():
                    offsets[place] = max(position, offsets.get(place, 0))
        return offsets


def check(ledger: Ledger, model: Model) -> None:
    assert ledger.done == model.done
    assert ledger.in_flight == len(model.rows) - model.done
    assert ledger.committable() == model.committable()
    undone = model.rows[model.done :]
    for place, offset in ledger.committable().items():
        assert all(offset <= other for where, other in undone if where == place)
    if undone:
        assert ledger.oldest() == undone[0]


@given(windows(), st.data())
def test_what_may_be_committed_is_what_is_done_in_the_order_of_arrival(given: list[Rows], data: st.DataObject) -> None:
    ledger, model = Ledger(), Model()
    for rows in given:
        assert ledger.accept(rows) == len(model.rows)
        model.accept(rows)
        for number in (
            data.draw(st.lists(st.integers(model.done, len(model.rows) - 1), max_size=3)) if undone(model) else ()
        ):
            ledger.hold(number)
            model.held[number] += 1
        mark = data.draw(st.integers(0, len(model.rows)))
        ledger.advance(mark)
        model.reached = max(mark, model.reached)
        for number in data.draw(st.lists(st.sampled_from(held(model)), max_size=2, unique=True)) if held(model) else ():
            ledger.release(number)
            model.held[number] -= 1
        check(ledger, model)
    ledger.advance(len(model.rows))
    model.reached = len(model.rows)
    for number in held(model):
        for _ in range(model.held.pop(number)):
            ledger.release(number)
    check(ledger, model)
    assert ledger.in_flight == 0


def undone(model: Model) -> bool:
    return model.done < len(model.rows)


def held(model: Model) -> list[int]:
    return sorted(number for number, count in model.held.items() if count)


def test_a_position_without_records_is_committed_once_what_came_before_it_is_done() -> None:
    ledger = Ledger()
    ledger.accept(Rows([(PLACES[0], 3)], {PLACES[0]: 4}))
    ledger.accept(Rows([], {PLACES[0]: 9, PLACES[1]: 2}))
    assert ledger.committable() == {}
    ledger.advance(1)
    assert ledger.committable() == {PLACES[0]: 9, PLACES[1]: 2}


def test_a_position_is_committed_also_where_nothing_was_ever_under_way() -> None:
    ledger = Ledger()
    ledger.accept(Rows([], {PLACES[0]: 5}))
    assert ledger.committable() == {PLACES[0]: 5}


def test_records_beyond_the_limit_commit_where_their_read_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "RETAINED", 30)
    ledger = Ledger()
    for begin in range(10, 100, 10):
        rows = Rows([(PLACES[0], offset) for offset in range(begin, begin + 10)], {PLACES[0]: begin + 10})
        ledger.accept(rows)
    assert (ledger.oldest(), ledger.unfinished()) == ((PLACES[0], 70), None)
    offsets = {}
    for done in (5, 15, 65, 90):
        ledger.advance(done)
        offsets[done] = ledger.committable().get(PLACES[0])
    assert offsets == {5: None, 15: 20, 65: 75, 90: 100}
    assert ledger.in_flight == 0


def test_no_value_is_kept_alive() -> None:
    ledger = Ledger()
    rows = Rows([(PLACES[0], 3), (PLACES[1], 8)], {})
    kept = ref(rows)
    ledger.accept(rows)
    del rows
    assert kept() is None
    ledger.advance(1)
    assert ledger.oldest() == (PLACES[1], 8)


def test_the_newest_read_is_kept_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "RETAINED", 1)
    ledger = Ledger()
    ledger.accept(Rows([(PLACES[0], 0), (PLACES[0], 1)], {}))
    ledger.advance(1)
    assert ledger.committable() == {PLACES[0]: 1}
