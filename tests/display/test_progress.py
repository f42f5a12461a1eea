"""The progress bar: what it draws, where it draws, and that it never gets in the way of a run."""

from __future__ import annotations

import threading
from io import StringIO

import pytest

from flowdsl.display.progress import line, progress_bar
from flowdsl.testing.virtual import VirtualClock


class Terminal(StringIO):
    """Says that it is a terminal, and tells when so many pictures were drawn."""

    def __init__(self, pictures: int = 0) -> None:
        super().__init__()
        self.left = pictures
        self.drawn = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        self.left -= 1
        if self.left <= 0:
            self.drawn.set()
        return written


class Counting:
    """A run that gets on by so many records between two looks."""

    def __init__(self, *done: int, total: int | None) -> None:
        self.done, self.total = list(done), total

    def __call__(self) -> tuple[int, int | None]:
        return (self.done.pop(0) if len(self.done) > 1 else self.done[0]), self.total


def as_shown(output: str) -> str:
    """What stands on the terminal's line once everything was written to it."""
    shown = ""
    for picture in output.removesuffix("\n").split("\r"):
        shown = picture + shown[len(picture) :]
    return shown.rstrip()


@pytest.mark.parametrize(
    ("done", "total", "seconds", "shown"),
    [
        (50, 100, 2.0, "orders [###############               ]  50% 50 of 100 records, 25/s, 2 s left"),
        (100, 100, 4.0, "orders [##############################] 100% 100 of 100 records, 25/s"),
        (0, 100, 0.0, "orders [                              ]   0% 0 of 100 records, -/s"),
        (0, 0, 1.0, "orders [##############################] 100% 0 of 0 records, -/s"),
        (1500, None, 2.0, "orders 1,500 records, 750/s"),
    ],
)
def test_line_tells_how_far_the_run_is(done: int, total: int | None, seconds: float, shown: str) -> None:
    assert line("orders", done, total, seconds) == shown


def test_long_name_is_shortened() -> None:
    assert line("n" * 50, 1, None, 1.0) == f"{'n' * 17}... 1 records, 1/s"


def test_what_is_no_terminal_gets_one_line_at_the_end() -> None:
    out, clock = StringIO(), VirtualClock()
    with progress_bar("orders", Counting(3, total=3), to=out, clock=clock):
        assert out.getvalue() == ""
    assert out.getvalue() == "orders [##############################] 100% 3 of 3 records, -/s\n"


def test_terminal_is_drawn_over_while_the_body_runs() -> None:
    out, clock = Terminal(pictures=3), VirtualClock()
    with progress_bar("orders", Counting(1, 2, 3, 4, total=4), to=out, clock=clock):
        assert out.drawn.wait(60)
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("\n")
    assert as_shown(out.getvalue()).startswith("orders [##############################] 100% 4 of 4")


def test_shorter_picture_leaves_nothing_of_a_longer_one() -> None:
    out, clock = Terminal(pictures=1), VirtualClock()
    with progress_bar("orders", Counting(1_000_000, 1, total=None), to=out, clock=clock):
        assert out.drawn.wait(60)
    assert as_shown(out.getvalue()) == "orders 1 records, -/s"


def test_picture_is_never_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out, clock = Terminal(), VirtualClock()
    with progress_bar("orders", Counting(5, total=10), to=out, clock=clock):
        pass
    assert max(len(picture.rstrip("\n")) for picture in out.getvalue().split("\r")) == 19


def test_last_picture_is_drawn_when_the_body_raises() -> None:
    out, clock = Terminal(), VirtualClock()
    with (
        pytest.raises(RuntimeError, match="the body"),
        progress_bar("orders", Counting(5, total=10), to=out, clock=clock),
    ):
        raise RuntimeError("the body")
    assert "50%" in as_shown(out.getvalue())


def test_closed_output_ends_no_run() -> None:
    out = StringIO()
    out.close()
    with progress_bar("orders", Counting(1, total=1), to=out, clock=VirtualClock()):
        done = True
    assert done


def test_output_that_breaks_in_the_middle_ends_no_run() -> None:
    out, clock = Terminal(pictures=1), VirtualClock()
    with progress_bar("orders", Counting(1, total=1), to=out, clock=clock):
        assert out.drawn.wait(60)
        out.close()


def test_process_without_standard_error_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with progress_bar("orders", Counting(1, total=1), clock=VirtualClock()):
        done = True
    assert done


def test_thread_is_gone_behind_the_body() -> None:
    before = set(threading.enumerate())
    with progress_bar("orders", Counting(1, total=1), to=Terminal(), clock=VirtualClock()):
        assert [thread.name for thread in threading.enumerate() if thread not in before] == ["flowdsl-progress"]
    assert set(threading.enumerate()) == before
