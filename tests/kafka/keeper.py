"""Run a command, and end it when its owner is gone: ``keeper.py OWNER_PID FOLDER COMMAND...``.

However the owner ends, kill -9 included, the command is killed and the folder removed. Prints the command's process id.
When the command ends by itself the folder stays, since a broker may be started again on it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def main(owner: int, folder: str, command: list[str]) -> int:
    # The owner decides: it ends the command, and so the keeper. A handler, since the command would inherit SIG_IGN.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        watched = os.pidfd_open(owner)
    except ProcessLookupError:
        shutil.rmtree(folder, ignore_errors=True)
        return 1
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=die_with_parent,  # noqa: PLW1509  # there is one thread here
    )
    ended = os.pidfd_open(child.pid)
    print(child.pid, flush=True)  # noqa: T201  # for the owner
    ready, _, _ = select.select([watched, ended], [], [])
    if watched in ready:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)  # also ends one that is stopped
        child.wait()
        shutil.rmtree(folder, ignore_errors=True)
    return child.wait()


def die_with_parent() -> None:
    """Should the keeper be killed itself, the kernel kills the command."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
