"""What ``import flowdsl`` loads: no built-in strategies, no tools for tests, and nothing else that it could spare."""

from __future__ import annotations

import subprocess
import sys

import pytest

SPARED = {
    *("dataclasses", "email", "html", "http", "ipaddress", "multiprocessing", "pathlib", "shutil", "tempfile"),
    *("unittest", "urllib.parse", "xml", "IPython", "flowdsl.strategies", "flowdsl.testing"),
}
"""Large modules, for what takes a few lines or is of no use at run time."""

LOADED = """
import sys
import attrs, cloudpickle, confluent_kafka, msgspec, reactivex  # what these load is not ours to spare
before = set(sys.modules)
import flowdsl{}
print(*set(sys.modules) - before)
"""


def loaded(besides: str = "") -> set[str]:
    command = [sys.executable, "-c", LOADED.format(besides)]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_import_loads_nothing_that_can_be_spared() -> None:
    assert loaded().isdisjoint(SPARED)


@pytest.mark.parametrize("module", ["flowdsl.testing", "urllib.parse"])
def test_what_is_loaded_is_seen(module: str) -> None:
    assert module in loaded(f", {module}")
