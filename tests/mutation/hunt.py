"""Run in a process of its own, with a package that may be broken: which flow shows it, and with which seed?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [sys.argv[1], str(Path(__file__).resolve().parents[2])]

from flowdsl.testing import SimulationFailed, simulate  # noqa: E402  # of the package that was just put first
from tests.mutation.flows import CASES  # noqa: E402  # as above


def hunt(seeds: int) -> dict[str, Any]:
    """Simulate flow after flow, a few seeds each at first, until one breaks a promise."""
    for first, last in ((0, 25), (25, seeds)):
        for name, case in CASES.items():
            try:
                simulate(case.flow, case.records, seeds=range(first, last), trace=case.trace)
            except SimulationFailed as failed:
                return {"flow": name, "seed": failed.seed, "check": failed.check}
            except Exception as error:  # noqa: BLE001  # it fails without any faults: found as well
                return {"flow": name, "seed": None, "check": repr(error)}
    return {}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(hunt(int(sys.argv[2]))))
