"""While flows run, the collector leaves alone what was there before; afterwards everything is as it was."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from flowdsl import from_iterable, map_, sink, to_list
from flowdsl.flow.heap import Heap


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    assert not gc.get_freeze_count()
    yield
    gc.unfreeze()


class Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_what_was_there_is_frozen_while_a_flow_runs_and_no_longer() -> None:
    frozen = (from_iterable(range(2)) | map_(lambda _: gc.get_freeze_count()) | to_list()).run()
    assert min(frozen) > 0
    assert not gc.get_freeze_count()


def test_it_is_thawed_when_a_run_fails() -> None:
    with pytest.raises(Exception, match="division"):
        (from_iterable([0]) | sink(lambda n: 1 / n)).run()
    assert not gc.get_freeze_count()


def test_what_a_run_makes_is_collected() -> None:
    rings: list[weakref.ref[Ring]] = []

    def make(_: int) -> int:
        rings.append(weakref.ref(Ring()))
        return gc.collect()

    (from_iterable(range(3)) | sink(make)).run()
    assert [ring() for ring in rings] == [None, None, None]


def test_it_stays_frozen_until_the_last_run_is_over() -> None:
    heap = Heap()
    with heap.settled():
        with heap.settled():
            assert gc.get_freeze_count()
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()


def test_what_the_program_froze_itself_stays_frozen() -> None:
    gc.freeze()
    before = gc.get_freeze_count()
    with Heap().settled():
        assert gc.get_freeze_count() == before
    assert gc.get_freeze_count() == before
