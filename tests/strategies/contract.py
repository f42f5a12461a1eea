"""What every strategy with a successor keeps to. Parametrise these classes over rows; see ``rows.py``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from flowdsl.strategies import MessageRejected
from tests.strategies.doubles import P0, Blocked, NeedsPolls, Recorder, Rejecting, filtered
from tests.strategies.driving import Bench, everything
from tests.strategies.rows import Row

MANY = range(14)


def fill(bench: Bench) -> int:
    """Submit until the strategy has no room; returns the number of the message that was rejected."""
    for n in count():
        try:
            bench.strategy.submit(bench.message(n))
        except MessageRejected:
            bench.settle()
            return n
        assert n < 1_000, "this strategy is not bounded"
    raise AssertionError


STATES: dict[str, Callable[[Bench], object]] = {
    "fresh": lambda bench: None,
    "holding": lambda bench: bench.feed([0]),
    "full": fill,
    "closed": lambda bench: bench.strategy.close(),
    "closed while full": lambda bench: (fill(bench), bench.strategy.close()),
    "joined": lambda bench: bench.strategy.join(0),
    "joined while full": lambda bench: (fill(bench), bench.strategy.join(0)),
    "terminated": lambda bench: (fill(bench), bench.strategy.terminate()),
}


class Contract:
    def test_rejected_message_is_untouched_and_taken_exactly_once_later(self, row: Row) -> None:
        end = Blocked()
        bench = Bench(row, end)
        refused = fill(bench)
        touched = list(bench.touched)
        for _ in range(3):
            with pytest.raises(MessageRejected):
                bench.strategy.submit(bench.message(refused))
            bench.strategy.poll()
        assert bench.touched == touched
        assert end.messages == []
        end.open = True
        bench.feed([refused])
        bench.finish()
        assert bench.outputs == bench.expected(range(refused + 1))
        assert bench.touched == (list(range(refused + 1)) if row.runs_user_code else [])

    def test_poll_and_join_never_reject(self, row: Row) -> None:
        bench = Bench(row, Blocked())
        fill(bench)
        for _ in range(30):
            bench.strategy.poll()
            bench.clock.advance(1.0)
        bench.strategy.close()
        bench.strategy.join(1.0)
        bench.strategy.poll()
        assert bench.end.messages == []

    def test_order_is_kept_whatever_downstream_rejects(self, row: Row) -> None:
        bench = Bench(row, Rejecting([True, False, True, True, True, False, False, True] * 5))
        bench.feed(MANY)
        bench.finish()
        assert bench.outputs == bench.expected(MANY)

    def test_join_drains_a_slow_downstream_by_polling_it_and_returns_early(self, row: Row) -> None:
        bench = Bench(row, NeedsPolls(3))
        bench.feed(MANY)
        started = bench.clock()
        bench.finish(timeout=1_000.0)
        assert bench.outputs == bench.expected(MANY)
        assert bench.clock() - started < 1.0
        assert bench.end.joined

    def test_join_without_a_timeout_comes_to_an_end(self, row: Row) -> None:
        bench = Bench(row, NeedsPolls(2))
        bench.feed(MANY)
        bench.finish(timeout=None)
        assert bench.outputs == bench.expected(MANY)

    def test_join_of_nothing_takes_no_time(self, row: Row) -> None:
        bench = Bench(row, Recorder())
        bench.finish(timeout=50.0)
        assert bench.clock() == 0.0
        assert bench.end.closed
        assert bench.end.joined

    @pytest.mark.parametrize("timeout", [0.0, 0.5, 2.0])
    def test_join_ends_by_its_deadline_and_drops_the_rest_uncommitted(self, row: Row, timeout: float) -> None:
        bench = Bench(row, Blocked())
        fill(bench)
        bench.strategy.close()
        started = bench.clock()
        bench.strategy.join(timeout)
        assert bench.clock() - started == pytest.approx(timeout)
        assert bench.end.committed == {}
        assert bench.end.joined
        assert isinstance(bench.end, Blocked)
        bench.end.open = True
        bench.strategy.poll()
        assert bench.end.messages == []

    def test_join_with_no_time_still_flushes_what_downstream_takes(self, row: Row) -> None:
        bench = Bench(row, Recorder())
        bench.feed(MANY)
        bench.turn()
        bench.finish(timeout=0.0)
        assert bench.outputs == bench.expected(MANY)

    @pytest.mark.parametrize("empty", [{1, 2, 3}, {0, 13}, set(MANY), {4, 5, 9, 10, 11, 12, 13}])
    def test_filtered_offsets_never_overtake_and_none_is_left_at_the_end(self, row: Row, empty: set[int]) -> None:
        bench = Bench(row, Rejecting([True, False, True, False, False] * 6))
        bench.feed(MANY, empty=sorted(empty))
        bench.finish()
        assert bench.outputs == bench.expected([n for n in MANY if n not in empty])
        assert bench.end.committed == everything(MANY)

    def test_filtered_offsets_wait_behind_a_kept_result(self, row: Row) -> None:
        end = Blocked()
        bench = Bench(row, end)
        bench.feed([0])
        try:
            bench.strategy.submit(filtered(1))
        except MessageRejected:
            end.open = True
            bench.turn()
            bench.strategy.submit(filtered(1))
        bench.check()
        end.open = True
        bench.finish()
        assert bench.outputs == bench.expected([0])
        assert bench.end.committed == {P0: 2}

    def test_idle_polls_reach_downstream(self, row: Row) -> None:
        bench = Bench(row, Recorder())
        bench.strategy.poll()
        bench.strategy.poll()
        assert bench.end.polls >= 2  # behind branches once for each

    @pytest.mark.parametrize("how", ["close", "join", "terminate"])
    def test_submit_is_refused_afterwards(self, row: Row, how: str) -> None:
        bench = Bench(row, Recorder())
        getattr(bench.strategy, how)()
        with pytest.raises(RuntimeError, match="takes no more messages"):
            bench.strategy.submit(bench.message(0))
        assert bench.touched == []
        assert bench.end.messages == []

    def test_close_does_not_wait_and_keeps_what_is_held_for_join(self, row: Row) -> None:
        bench = Bench(row, Recorder())
        bench.feed(range(2))
        bench.strategy.close()
        assert bench.clock() == 0.0
        assert not bench.end.closed
        bench.finish()
        assert bench.outputs == bench.expected(range(2))

    @pytest.mark.parametrize("state", STATES)
    def test_terminate_in_any_state_and_twice(self, row: Row, state: str) -> None:
        end = Blocked()
        bench = Bench(row, end)
        STATES[state](bench)
        before = bench.clock()
        bench.strategy.terminate()
        bench.strategy.terminate()
        assert end.terminated
        assert bench.clock() == before
        end.open, end.closed = True, False
        bench.strategy.poll()
        bench.strategy.join(0)
        assert end.messages == []
        assert bench.strategy.next_deadline() is None


class UserCodeContract:
    """For strategies that run user code on single messages."""

    @pytest.mark.parametrize("bad", [[0], [2], [13], [4, 5], [0, 6, 12, 13]])
    def test_an_invalid_message_moves_its_offset_and_nothing_else(self, row: Row, bad: list[int]) -> None:
        bench = Bench(row, Rejecting([False, True, True, False] * 4), invalid=bad)
        bench.feed(MANY)
        bench.finish()
        good = [n for n in MANY if n not in bad]
        assert bench.outputs == bench.expected(good)
        assert [(invalid.partition, invalid.offset + 1) for invalid in bench.invalid] == [
            next(iter(bench.message(n).committable.items())) for n in bad
        ]
        assert not any(invalid.needs_commit for invalid in bench.invalid)
        assert bench.end.committed == everything(MANY)

    def test_user_code_runs_once_for_each_message_however_often_downstream_rejects(self, row: Row) -> None:
        bench = Bench(row, Rejecting([True] * 9 + [False, True] * 20))
        bench.feed(MANY)
        bench.finish()
        assert bench.touched == list(MANY)
