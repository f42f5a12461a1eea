"""The built-in strategies keep the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.strategies import RunTaskWithMultiprocessing
from tests.strategies.compiled import end_runs
from tests.strategies.contract import Contract, UserCodeContract
from tests.strategies.doubles import Recorder, Rejecting
from tests.strategies.driving import Bench, everything
from tests.strategies.rows import POOL, ROWS, Row


@pytest.fixture(scope="module", autouse=True)
def _processes() -> Iterator[None]:
    """Start the shared pool before the first test: what a test starts must end with it."""
    RunTaskWithMultiprocessing(str, Recorder(), 1, 1.0, POOL).terminate()
    yield
    POOL.close()


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    end_runs()


every = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@every
class TestEveryStrategy(Contract):
    pass


@pytest.mark.parametrize("row", [row for row in ROWS if row.runs_user_code], ids=lambda row: row.name)
class TestStrategiesWithUserCode(UserCodeContract):
    pass


@every
@given(
    empty=st.lists(st.booleans(), max_size=30),
    rejections=st.lists(st.booleans(), max_size=60),
    polls=st.sets(st.integers(0, 29)),
    pause=st.sampled_from([0.0, 0.5, 20.0]),
)
def test_any_stream_comes_out_complete_and_is_committed(
    row: Row, empty: list[bool], rejections: list[bool], polls: set[int], pause: float
) -> None:
    bench = Bench(row, Rejecting(rejections))
    without = [n for n, is_empty in enumerate(empty) if is_empty]
    for n in range(len(empty)):
        bench.feed([n], empty=without)
        if n in polls:
            bench.clock.advance(pause)
            bench.turn()
    bench.finish()
    assert bench.outputs == bench.expected([n for n in range(len(empty)) if n not in without])
    assert bench.end.committed == everything(range(len(empty)))
    end_runs()  # of this example
