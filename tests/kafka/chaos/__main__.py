"""``python -m tests.kafka.chaos --seconds 120``: chaos in each group protocol, and what came of it."""

from __future__ import annotations

import argparse
import sys
import time

from tests.kafka.chaos.run import chaos
from tests.kafka.chaos.steps import STEPS
from tests.kafka.protocols import PROTOCOLS


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill, freeze and stop members and broker, and count the records.")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=2000, help="records a second")
    parser.add_argument("--protocol", choices=list(PROTOCOLS), action="append", help="default: each of them")
    parser.add_argument("--step", choices=list(STEPS), default="plain", help="where members do their work")
    given = parser.parse_args()
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} {text}", flush=True)  # noqa: T201

    failed = False
    for protocol in given.protocol or PROTOCOLS:
        report = chaos(protocol, seed=given.seed, seconds=given.seconds, rate=given.rate, step=given.step, say=say)
        say(str(report))
        failed = failed or bool(report.findings)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
