"""Run in a process of its own: prints what happens in some seeds of every flow of the suite, line by line."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from flowdsl.testing.simulation.oracle import ALL_CHECKS  # noqa: E402  # found on the path set above
from flowdsl.testing.simulation.scene import scene_of  # noqa: E402  # as above
from flowdsl.testing.simulation.seeds import Simulation  # noqa: E402  # as above
from tests.mutation.flows import CASES  # noqa: E402  # as above

SEEDS = (0, 1)

if __name__ == "__main__":
    for name, case in CASES.items():
        scene = scene_of(case.flow.plan, case.records, 3)
        simulation = Simulation.of(scene, case.trace, ALL_CHECKS, SEEDS[0])
        for seed in SEEDS:
            lines = "\n".join(simulation.told(seed))
            sys.stdout.write(f"{name}, seed {seed}\n{lines}\n")
