"""Both type checkers follow ``flow | operator``: they accept what is right and refuse what is wrong, line by line."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def mypy_refuses(path: Path) -> set[int]:
    options = ["--strict", "--no-error-summary", "--no-pretty", "--config-file=", "--follow-imports=silent"]
    with TemporaryDirectory() as cache:  # of its own: two mypys that share one may fail with an internal error
        command = [sys.executable, "-m", "mypy", *options, f"--cache-dir={cache}", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {int(line) for line in re.findall(r"^.+?:(\d+):(?:\d+:)? error: ", done.stdout, re.MULTILINE)}


def pyright_refuses(path: Path) -> set[int]:
    report = pyright_report()
    assert report["summary"]["filesAnalyzed"] >= 2
    errors = (each for each in report["generalDiagnostics"] if each["severity"] == "error")
    return {each["range"]["start"]["line"] + 1 for each in errors if Path(each["file"]) == path}


@cache
def pyright_report() -> Any:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(HERE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads(done.stdout)


CHECKERS = {"mypy": mypy_refuses, "pyright": pyright_refuses}


def marked(path: Path, checker: str) -> set[int]:
    lines = path.read_text().splitlines()
    wrong = (number for number, line in enumerate(lines, 1) if "  # E" in line)
    return {number for number in wrong if f"{checker} misses it" not in lines[number - 1]}


def test_enough_wrong_lines_are_tried() -> None:
    assert len(marked(HERE / "wrong.py", "mypy")) >= 20


@pytest.mark.parametrize("checker", CHECKERS)
def test_right_flows_are_clean(checker: str) -> None:
    assert CHECKERS[checker](HERE / "right.py") == set()


@pytest.mark.parametrize("checker", CHECKERS)
def test_wrong_flows_are_refused_line_by_line(checker: str) -> None:
    assert CHECKERS[checker](HERE / "wrong.py") == marked(HERE / "wrong.py", checker)
