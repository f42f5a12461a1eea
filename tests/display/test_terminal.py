"""How wide pictures and tables may be."""

import os
import pty
import subprocess
import sys
import termios

import pytest

from flowdsl.display import terminal

TOLD = "from flowdsl.display import terminal; print(terminal.width())"


def test_columns_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    assert terminal.width() == 33


@pytest.mark.parametrize("told", ["", "0", "-5", "wide"])
def test_what_says_nothing_is_passed_over(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("COLUMNS", told)
    monkeypatch.setattr(sys, "__stdout__", None)
    assert terminal.width() == 80


def test_output_that_is_no_terminal_has_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    command = [sys.executable, "-c", TOLD]
    assert int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) == 80


def test_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(theirs, (24, 57))
        subprocess.run([sys.executable, "-c", TOLD], check=True, stdout=theirs)
        assert int(os.read(ours, 100)) == 57
    finally:
        os.close(ours)
        os.close(theirs)
