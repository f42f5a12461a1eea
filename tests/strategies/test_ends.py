"""CommitOffsets, Noop and Healthcheck."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowdsl.strategies import CommitOffsets, Healthcheck, Noop, ProcessingStrategy
from flowdsl.testing.virtual import VirtualClock
from tests.strategies.doubles import P0, Commits, Recorder, at, filtered


def test_every_message_is_committed_filtered_ones_too() -> None:
    commits = Commits()
    step = CommitOffsets(commits)
    step.submit(at(4, "x"))
    step.submit(filtered(5))
    assert commits.calls == [({P0: 5}, False), ({P0: 6}, False)]


def test_an_idle_poll_gives_the_policy_its_chance() -> None:
    commits = Commits()
    CommitOffsets(commits).poll()
    assert commits.calls == [({}, False)]


def test_join_asks_for_the_commit_to_be_sent() -> None:
    commits = Commits()
    step = CommitOffsets(commits)
    step.close()
    step.join()
    assert commits.calls == [({}, True)]


def test_nothing_is_committed_after_terminate() -> None:
    commits = Commits()
    step = CommitOffsets(commits)
    step.terminate()
    step.poll()
    step.join()
    assert commits.calls == []


def test_noop_takes_everything_and_commits_nothing() -> None:
    step = Noop()
    step.submit(at(0, "x"))
    step.submit(filtered(1))
    step.poll()
    step.join()
    assert step.next_deadline() is None


@pytest.mark.parametrize("make", [lambda: CommitOffsets(Commits()), Noop])
@pytest.mark.parametrize("how", ["close", "join", "terminate"])
def test_ends_refuse_messages_afterwards(make: Callable[[], ProcessingStrategy[Any]], how: str) -> None:
    step = make()
    getattr(step, how)()
    getattr(step, how)()
    with pytest.raises(RuntimeError, match="takes no more messages"):
        step.submit(at(0, "x"))


def test_the_file_is_touched_by_poll_at_most_once_a_second(tmp_path: Path) -> None:
    file, clock = tmp_path / "health", VirtualClock()
    step = Healthcheck(file, Recorder(), clock=clock)
    step.submit(at(0, "x"))
    assert not file.exists()
    step.poll()
    assert file.exists()
    file.unlink()
    clock.advance(0.9)
    step.poll()
    assert not file.exists()
    clock.advance(0.1)
    step.poll()
    assert file.exists()


def test_healthcheck_hands_everything_on_unchanged(tmp_path: Path) -> None:
    end = Recorder()
    step = Healthcheck(str(tmp_path / "health"), end)
    step.submit(at(0, "x"))
    step.submit(filtered(1))
    assert end.messages == [at(0, "x"), filtered(1)]
