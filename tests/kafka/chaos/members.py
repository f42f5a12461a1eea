"""The processes of a group: started, stopped, killed, frozen. One that ends unasked is a finding."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[3]
STOP_TIMEOUT = 10.0
"""Seconds that a member is given to drain, see member.py."""

GRACE = 40.0
"""Seconds beyond its deadline that a process may take to be gone, on a machine that is busy."""


class Member:
    """One process, and what was asked of it."""

    def __init__(self, folder: Path, number: int, program: str, arguments: list[str]) -> None:
        self.number = number
        self.log = folder / f"member-{number}.log"
        command = [sys.executable, "-m", program, *arguments, str(folder / f"member-{number}.sink")]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.frozen_until = 0.0
        self.stop_by = 0.0

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def at_work(self) -> bool:
        """Running, and nothing was done to it yet."""
        return self.running and not self.frozen_until and not self.stop_by

    @property
    def has_joined(self) -> bool:
        """Whether it ever had partitions; until then it may be told that there is no broker, and has no handler of signals."""
        return "assigned: " in self.log.read_text()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.stop_by = time.monotonic() + STOP_TIMEOUT + GRACE

    def kill(self) -> None:
        self.stop_by = time.monotonic()
        self.process.kill()
        self.process.wait()

    def kill_worker(self, pick: int) -> None:
        """Kill one of its worker processes, if it has any yet."""
        workers = children_of(self.process.pid)
        if workers:
            with suppress(ProcessLookupError):
                os.kill(workers[pick % len(workers)], signal.SIGKILL)

    def freeze(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.frozen_until = time.monotonic() + seconds

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.frozen_until = 0.0


def children_of(pid: int) -> list[int]:
    """The processes that this one started and that are there."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return sorted(found)


class Members:
    """All of a group, those that are gone included."""

    def __init__(self, folder: Path, program: str, arguments: list[str]) -> None:
        self._folder, self._program, self._arguments = folder, program, arguments
        self.everyone: list[Member] = []
        self.findings: list[str] = []

    def join(self) -> None:
        self.everyone.append(Member(self._folder, len(self.everyone), self._program, self._arguments))

    def at_work(self) -> list[Member]:
        return [member for member in self.everyone if member.at_work]

    def look(self, now: Callable[[], float] = time.monotonic) -> None:
        """Thaw whoever is due, and find out who ended or did not."""
        for member in self.everyone:
            if member.frozen_until and member.running and now() > member.frozen_until:
                member.thaw()
            if member.running and member.stop_by and now() > member.stop_by:
                self.findings.append(f"member {member.number} is not gone by its deadline")
                member.kill()
            if not member.running and not member.stop_by:
                self.findings.append(f"member {member.number} ended by itself:\n{member.log.read_text()[-3000:]}")
                member.stop_by = now()

    def end(self) -> None:
        """Stop everybody, and wait until they are gone."""
        for member in self.everyone:
            if member.frozen_until and member.running:
                member.thaw()
            if member.at_work:
                member.stop()
        while any(member.running for member in self.everyone):
            self.look()
            time.sleep(0.05)
        for member in self.everyone:
            code = member.process.returncode
            early = code == -signal.SIGTERM and not member.has_joined
            if code not in {0, -signal.SIGKILL} and not early and "CommitFailed" not in member.log.read_text():
                self.findings.append(f"member {member.number} ended with {code}:\n{member.log.read_text()[-3000:]}")

    def kill(self) -> None:
        for member in self.everyone:
            if member.running:
                member.kill()
