#!/usr/bin/env python3
"""The tasks of this project: `python3 tasks.py flights`, `python3 tasks.py test`. Needs Python 3.11 and nothing else.

Every task runs in an environment of its own, ``.venv/<version of Python>``, which is made when it is first needed and
renewed when pyproject.toml changes. Laptop, pre-commit and CI run the same tasks.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
ENVIRONMENT = ROOT / ".venv" / VERSION
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
QUIET = ("--quiet", "--disable-pip-version-check", "--no-warn-script-location")


# -- the environment --------------------------------------------------------------------------------------------------


def setup(extras: str) -> None:
    """Make the environment, or bring it up to date; does nothing when it is."""
    stamp = ENVIRONMENT / f"installed{extras}"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Setting up {ENVIRONMENT.relative_to(ROOT)} (once; a minute or so) ...", file=sys.stderr, flush=True)
    if not PYTHON.exists():
        make_environment()
    install("-e", f"{ROOT}{extras}")
    stamp.write_text(wanted)


def make_environment() -> None:
    if importlib.util.find_spec("venv") is None:
        sys.exit(f"{sys.executable} comes without the module venv: install Python as a whole (Debian: python3-venv).")
    has_pip = importlib.util.find_spec("ensurepip") is not None  # Debian keeps it in a package of its own
    if not has_pip and importlib.util.find_spec("pip") is None:
        sys.exit(f"{sys.executable} comes without ensurepip and pip: install one of them (Debian: python3-venv).")
    if ENVIRONMENT.exists():
        shutil.rmtree(ENVIRONMENT)
    run(sys.executable, "-m", "venv", *([] if has_pip else ["--without-pip"]), ENVIRONMENT)
    if not has_pip:
        run(sys.executable, "-m", "pip", "--python", PYTHON, "install", *QUIET, "pip")


def install(*arguments: str) -> None:
    run(PYTHON, "-m", "pip", "install", *QUIET, *arguments)


def run(*command: str | Path) -> None:
    """Run a command in the project's folder; end with its exit code if it fails."""
    end(exit_code(*command))


def exit_code(*command: str | Path) -> int:
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode


def end(code: int) -> None:
    if code:
        sys.exit(code if code > 0 else 128 - code)  # killed by a signal: as a shell says it


def run_tool(*arguments: str) -> None:
    setup("[dev]")
    run(PYTHON, "-m", *arguments)


def run_tools(*commands: Sequence[str]) -> None:
    """Run all, also when the first fails: one sees everything at once."""
    setup("[dev]")
    end(max([exit_code(PYTHON, "-m", *command) for command in commands], key=abs))


# -- the tasks --------------------------------------------------------------------------------------------------------


def flights(*arguments: str) -> None:
    """Run the main job: a month of flights through a pipeline, on the embedded broker."""
    setup("")
    run(PYTHON, ROOT / "examples" / "flights.py", *arguments)


def test(*arguments: str) -> None:
    """Pass the tests; --quick leaves out the slow ones, everything else goes to pytest."""
    quick = ["-m", "not slow"] if "--quick" in arguments else []
    processors = os.cpu_count() or 1
    workers = processors if quick else max(processors, min(8, 2 * processors))  # slow ones mostly wait for a broker
    setup("[dev]")
    if not quick and not os.environ.get("FLOWDSL_TEST_KAFKA"):
        exit_code(PYTHON, "-m", "tests.kafka.jars")  # what lacks is told; the tests that need it are skipped
    side_by_side = ("-n", str(workers), "--dist", "worksteal")
    run_tool("pytest", *side_by_side, *quick, *(argument for argument in arguments if argument != "--quick"))


def lint(*arguments: str) -> None:
    """Check style and formatting; --fix mends what can be mended."""
    if "--fix" in arguments:
        run_tools(("ruff", "check", "--fix", "."), ("ruff", "format", "."))
    else:
        run_tools(("ruff", "check", "."), ("ruff", "format", "--check", "."))


def types(*arguments: str) -> None:
    """Check types with mypy and pyright."""
    run_tools(("mypy", *arguments), ("pyright", "--pythonpath", str(PYTHON), *arguments))


def examples(*arguments: str) -> None:
    """Run every example."""
    setup("")
    for example in sorted((ROOT / "examples").glob("*.py")):
        print(f"\n-- {example.relative_to(ROOT)}", flush=True)
        run(PYTHON, example, *arguments)


def notebooks(*arguments: str) -> None:
    """Execute every notebook."""
    run_tool("pytest", "tests/test_notebooks.py", *arguments)


def bench(*arguments: str) -> None:
    """Measure: every script of benchmarks/, or those that are named."""
    setup("[bench]")
    found = sorted((ROOT / "benchmarks").glob("*.py"))
    scripts = [Path(name) for name in arguments] or [each for each in found if "__main__" in each.read_text()]
    for script in scripts:
        print(f"\n-- {script.relative_to(ROOT) if script.is_absolute() else script}", flush=True)
        run(PYTHON, script)


def clean(*_: str) -> None:
    """Remove the environments and everything else that git does not know."""
    for name in (".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", "dist", "build"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for cache in ROOT.rglob("__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)


TASKS: dict[str, Callable[..., None]] = {
    task.__name__: task for task in (flights, test, lint, types, examples, notebooks, bench, clean)
}


def main(arguments: Sequence[str]) -> None:
    name = arguments[0] if arguments else ""
    if name not in TASKS:
        lines = "".join(f"\n  {task:<10} {(function.__doc__ or '').strip()}" for task, function in TASKS.items())
        sys.exit(f"usage: python3 tasks.py TASK [ARGUMENTS]\n{lines}")
    TASKS[name](*arguments[1:])


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  # people try what their system calls python3
        sys.exit(f"flowdsl needs Python 3.11 or newer, and this is {sys.version.split()[0]} ({sys.executable}).")
    main(sys.argv[1:])
