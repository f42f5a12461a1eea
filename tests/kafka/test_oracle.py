"""What the chaos looks at by itself: whether it sees what is committed and in no sink."""

from __future__ import annotations

from pathlib import Path

from tests.kafka.chaos.member import wanted
from tests.kafka.chaos.oracle import Sinks

WANTED = [number for number in range(100) if wanted(str(number).encode())]
SENT = {(0, offset): number for offset, number in enumerate(WANTED[:20])}


def sinks_with(folder: Path, offsets: list[int]) -> Sinks:
    rows = (f"0 {offset} {WANTED[offset]} {nth}\n" for nth, offset in enumerate(offsets))
    (folder / "one.sink").write_text("".join(rows))
    sinks = Sinks(folder)
    sinks.refresh()
    return sinks


def test_record_that_is_committed_and_in_no_sink_is_found(tmp_path: Path) -> None:
    sinks = sinks_with(tmp_path, [0, 1, 2, 4])
    assert sinks.holds(SENT, 0, 3) is None
    assert sinks.holds(SENT, 0, 5) == 3


def test_record_whose_acknowledgement_is_late_or_lost_hides_no_other(tmp_path: Path) -> None:
    sinks = sinks_with(tmp_path, [0, 1, 4])
    heard = {place: number for place, number in SENT.items() if place != (0, 2)}
    assert sinks.holds(heard, 0, 3) is None
    assert sinks.holds(heard, 0, 5) == 3
    assert sinks.holds(SENT, 0, 3) == 2
