"""How a pool's thread shares out what waits among workers: by what it would give, with nobody at work."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowdsl.pool.hub import Hub
from flowdsl.pool.line import BATCH_BYTES, BATCH_SECONDS, Line, Pace, to_nobody
from flowdsl.pool.process import Frame
from flowdsl.pool.seat import DEPTH, Seat
from flowdsl.pool.worker import BATCH, DONE
from tests.pool.errands import Parcel

MOST = 10_000


class Idle:
    """In the place of a worker process: keeps what it is sent."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[Any]]] = []

    def send(self, kind: int, line: int, number: int, body: bytes) -> None:  # as a process does
        if kind == BATCH:
            self.batches.append((number, pickle.loads(body)))  # noqa: S301  # from the pool itself

    def finish(self) -> Frame:
        """The oldest batch comes back whole."""
        number, values = self.batches.pop(0)
        body = pickle.dumps((values, {}, 0.001 * len(values)))
        return Frame(DONE, len(values), number, body)


class Shares:
    """A pool's thread that does not run, with workers that do nothing by themselves."""

    def __init__(self, size: int, limit: int) -> None:
        self.hub = Hub(size, None)
        self.line = Line(1, b"", is_context=False, most=MOST, tell=to_nobody)
        self.line.pace = Fixed(limit)
        self.hub.lines[1] = self.line
        self.workers = [Idle() for _ in range(size)]
        self.hub.seats = [Seat(worker) for worker in self.workers]  # type: ignore[arg-type]  # all that is asked of it
        for seat in self.hub.seats:
            seat.is_ready = True

    def put(self, values: range) -> list[Parcel]:
        parcels = [Parcel(value) for value in values]
        self.line.waiting.extend(parcels)
        self.hub._fill()  # what its thread does on each turn
        return parcels

    def finish(self, worker: int) -> None:
        self.hub.seats[worker].done(self.workers[worker].finish())
        self.hub._fill()  # as above

    def sizes(self) -> list[list[int]]:
        return [[len(values) for _, values in worker.batches] for worker in self.workers]

    def given(self) -> list[int]:
        """The values that workers have, in the order in which they were given."""
        batches = sorted(batch for worker in self.workers for batch in worker.batches)
        return [value for _, values in batches for value in values]


class Fixed(Pace):
    """A batch has so many values at most, whatever is measured."""

    def __init__(self, limit: int) -> None:
        super().__init__(MOST)
        self.limit = limit

    def learn(self, count: int, seconds: float, nbytes: int) -> None:
        """Nothing."""


@contextmanager
def shares(size: int, limit: int) -> Iterator[Shares]:
    made = Shares(size, limit)
    try:
        yield made
    finally:
        made.hub._selector.close()  # its thread never ran, and closes it at its end
        made.hub._wake.close()  # as above


sizes = st.integers(1, 5)
limits = st.integers(1, 600)


@given(sizes, limits, st.integers(0, 3_000))
def test_what_waits_is_given_in_order_as_far_as_batches_have_room(size: int, limit: int, count: int) -> None:
    with shares(size, limit) as made:
        made.put(range(count))
        given = made.given()
        assert given + [parcel.value for parcel in made.line.waiting] == list(range(count))
        assert len(given) == min(count, DEPTH * size * limit)


@given(sizes, limits, st.integers(0, 3_000))
def test_all_batches_that_there_may_be_are_alike(size: int, limit: int, count: int) -> None:
    with shares(size, limit) as made:
        made.put(range(count))
        batches = [batch for worker in made.sizes() for batch in worker]
        share = min(limit, -(-count // (DEPTH * size)))
        assert all(1 <= batch <= share for batch in batches)
        assert sorted(batches)[1:] in ([], [share] * (len(batches) - 1))
        assert all(len(worker) <= DEPTH for worker in made.sizes())


@given(sizes, limits, st.integers(0, 3_000))
def test_no_worker_has_a_second_batch_while_another_has_none(size: int, limit: int, count: int) -> None:
    with shares(size, limit) as made:
        made.put(range(count))
        depths = [len(worker) for worker in made.sizes()]
        assert max(depths) - min(depths) <= 1
        assert min(depths) >= 1 or count < size or not made.line.waiting


@given(sizes, limits, st.lists(st.tuples(st.integers(0, 4), st.integers(0, 400)), max_size=30))
def test_whoever_finishes_gets_more_and_everything_is_done_once(
    size: int, limit: int, steps: list[tuple[int, int]]
) -> None:
    with shares(size, limit) as made:
        parcels: list[Parcel] = []
        for worker, more in steps:
            parcels += made.put(range(len(parcels), len(parcels) + more))
            if worker < size and made.workers[worker].batches:
                made.finish(worker)
            under_way = sum(len(values) for each in made.workers for _, values in each.batches)
            assert all(0 < batch <= limit for each in made.sizes() for batch in each)
            assert under_way + len(made.line.waiting) == sum(not parcel.arrived.is_set() for parcel in parcels)
            assert not made.line.waiting or all(len(each) == DEPTH for each in made.sizes())
        while any(each.batches for each in made.workers):
            for worker in range(size):
                if made.workers[worker].batches:
                    made.finish(worker)
        assert [parcel.outcome for parcel in parcels] == list(range(len(parcels)))


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(1e-7, 2.0), st.integers(0, 1 << 22)), min_size=1, max_size=20))
def test_batches_grow_by_steps_and_fit_what_was_measured(told: list[tuple[int, float, int]]) -> None:
    pace = Pace(MOST)
    assert pace.limit == 1
    for count, seconds, nbytes in told:
        before = pace.limit
        pace.learn(count, seconds, nbytes)
        assert 1 <= pace.limit <= min(MOST, 2 * before)
        assert pace.limit == 1 or pace.limit * nbytes / count <= BATCH_BYTES
    for _ in range(40):
        pace.learn(100, 0.1, 100)
    assert pace.limit == int(BATCH_SECONDS / 0.001) or abs(pace.limit - BATCH_SECONDS / 0.001) <= 1
