"""Members and broker are killed, frozen and stopped, and nothing is lost: a short run in each group protocol."""

from __future__ import annotations

import pytest

from tests.kafka.chaos.run import chaos
from tests.kafka.jars import what_lacks
from tests.kafka.protocols import COOPERATIVE, in_every_protocol

pytestmark = [pytest.mark.slow, pytest.mark.skipif(what_lacks() is not None, reason=str(what_lacks()))]


@in_every_protocol
def test_nothing_is_lost_whatever_happens(protocol: str) -> None:
    report = chaos(protocol, seed=2026, seconds=20.0, rate=1000, step="values")
    print(report)  # noqa: T201  # shown with -rA, and when it fails
    assert not report.findings, str(report)


@pytest.mark.parametrize("step", ["threads", "coroutines", "processes"])
def test_nothing_is_lost_whatever_happens_to_slow_work(step: str) -> None:
    report = chaos(COOPERATIVE, seed=2026, seconds=20.0, rate=1000, step=step)
    print(report)  # noqa: T201  # as above
    assert not report.findings, str(report)


def test_chaos_finds_a_member_that_commits_what_it_read() -> None:
    # With these seeds a member is killed first, which loses what it holds, if it has committed that just then.
    reports: list[str] = []
    for seed in (47, 52, 60, 73, 109, 115):
        reports.append(str(chaos(COOPERATIVE, seed=seed, seconds=3.0, rate=1000, program="tests.kafka.chaos.hasty")))
        assert "is committed, but" in reports[-1]
        if "are lost" in reports[-1]:
            return
    raise AssertionError("\n".join(reports))
