"""What ``import flowdsl`` takes beyond its dependencies: in fresh interpreters, with the byte code there already."""

from __future__ import annotations

import compileall
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median

ROUNDS = 15
LIMIT_MS = 60.0
DEPENDENCIES = ("attrs", "cloudpickle", "confluent_kafka", "confluent_kafka.admin", "msgspec", "reactivex")
"""Their modules, as far as flowdsl imports them."""
PROGRAM = """
import time
import {}
wall, cpu = time.perf_counter(), time.process_time()
import flowdsl
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def main() -> None:
    spec = find_spec("flowdsl")
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        compileall.compile_dir(Path(folder), quiet=1)  # as an installer does
    rounds = [measured() for _ in range(ROUNDS + 1)][1:]
    wall, cpu = (median(figures) * 1000 for figures in zip(*rounds, strict=True))
    print(f"\nimport flowdsl, beyond its dependencies, {ROUNDS} fresh interpreters, Python {sys.version.split()[0]}")
    verdict = "ok" if wall <= LIMIT_MS else "NOT REACHED"
    print(f"wall {wall:.0f} ms, at most {LIMIT_MS:.0f} expected: {verdict}; processor {cpu:.0f} ms")


def measured() -> tuple[float, float]:
    command = [sys.executable, "-c", PROGRAM.format(", ".join(DEPENDENCIES))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # this interpreter
    wall, cpu = map(float, done.stdout.split())
    return wall, cpu


if __name__ == "__main__":
    main()
