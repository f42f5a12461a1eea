"""The same seed, the same trace, byte for byte: in another process, and whatever the hashes of strings are."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
from pathlib import Path

import pytest

TELL = Path(__file__).with_name("tell.py")


@pytest.mark.slow
def test_a_seed_tells_the_same_in_every_process() -> None:
    faulthandler.cancel_dump_traceback_later()  # the processes have a time of their own
    started = [
        subprocess.Popen(
            [sys.executable, str(TELL)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": hashes}
        )
        for hashes in ("1", "2")
    ]
    first, second = (process.communicate(timeout=600)[0] for process in started)
    assert [process.returncode for process in started] == [0, 0]
    assert first.count(b"nothing goes wrong from here on") > 40
    assert first == second
