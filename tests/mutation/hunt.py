"""Run in a process of its own, with a package that is broken: which flow shows it, and with which seed?

Only a promise that was broken counts as found. Anything else that is raised ends the process, for the test to show.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [sys.argv[1], str(Path(__file__).resolve().parents[2])]

import flowdsl  # noqa: E402  # of the folder that was just put first
from flowdsl.testing import SimulationFailed, simulate  # noqa: E402  # as above
from tests.mutation.flows import CASES  # noqa: E402  # as above


def hunt(seeds: int) -> dict[str, Any]:
    """Simulate flow after flow, a few seeds each at first, until one breaks a promise."""
    for first, last in ((0, 5), (5, 25), (25, 100), (100, seeds)):
        for name, case in CASES.items():
            try:
                simulate(case.flow, case.records, seeds=range(first, last), trace=case.trace)
            except SimulationFailed as failed:
                return {"flow": name, "seed": failed.seed, "check": failed.check, "reason": failed.reason}
    return {}


if __name__ == "__main__":
    if not Path(flowdsl.__file__).is_relative_to(sys.argv[1]):
        sys.exit(f"the package is that of {flowdsl.__file__}, and not of {sys.argv[1]}")
    sys.stdout.write(json.dumps(hunt(int(sys.argv[2]))))
