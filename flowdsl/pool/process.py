"""One worker process as its owner sees it: started, written to and read without blocking, killed, reaped.

It is started by running the program of ``worker.py`` anew, on every system and version of Python: nothing is forked that
holds a client or a lock, and the main module of the owner is not imported again.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import IO

from msgspec import Struct

from flowdsl.clock import Deadline
from flowdsl.errors import FlowError
from flowdsl.pool import worker
from flowdsl.pool.worker import CELL, HEADER, PROTOCOL, SETUP

if sys.platform == "linux":

    def _shared_file() -> IO[bytes]:
        """An empty file without a name that two processes can map. Also where no folder can be written to."""
        return os.fdopen(os.memfd_create("flowdsl"), "r+b")

else:
    import tempfile

    _shared_file = tempfile.TemporaryFile

READ_BYTES = 1 << 18
MOST_PARTS = 16
"""So many pieces are written by one call, which may let other threads run: calls are what costs."""


class Frame(Struct, frozen=True):
    """What a worker sent."""

    kind: int
    line: int
    number: int
    body: bytes


class InHand(Struct, frozen=True):
    """What a worker does: the number of its batch (0 for none), the index of the record in it, and when that was begun."""

    number: int
    at: int
    began: float


class Process:
    """Used by one thread. ``fileno`` is readable when there is something to ``receive``."""

    def __init__(self, initializer: bytes | None) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs, _shared_file() as cell:
            cell.truncate(CELL.size)
            self._cell = mmap.mmap(cell.fileno(), CELL.size)
            try:
                self._popen = _started(theirs.fileno(), cell.fileno())
            except BaseException:
                self._connection.close()
                self._cell.close()
                raise
        self._connection.setblocking(False)
        self._out: deque[memoryview] = deque()
        self._in = bytearray()
        self.send(SETUP, 0, 0, pickle.dumps((sys.path, sys.argv, initializer), PROTOCOL))

    @property
    def pid(self) -> int:
        return self._popen.pid

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, kind: int, line: int, number: int, body: bytes) -> None:
        """Queue a frame, and write what can be written."""
        self._out.append(memoryview(HEADER.pack(kind, line, number, len(body))))
        if body:
            self._out.append(memoryview(body))
        self.flush()

    @property
    def is_behind(self) -> bool:
        """Whether something could not be written yet."""
        return bool(self._out)

    def flush(self) -> None:
        """Write what can be written. That the worker is gone shows when it is read."""
        while self._out:
            try:
                sent = self._connection.sendmsg(list(islice(self._out, MOST_PARTS)))
            except BlockingIOError:
                return
            except OSError:
                self._out.clear()
                return
            while self._out and sent >= len(self._out[0]):
                sent -= len(self._out.popleft())
            if sent:
                self._out[0] = self._out[0][sent:]

    def receive(self) -> Iterator[Frame]:
        """What has arrived. Raises EOFError, behind the last frame, once the worker is gone."""
        gone = False
        try:
            data = self._connection.recv(READ_BYTES)
            gone = not data
            self._in += data
        except BlockingIOError:
            pass
        except OSError:
            gone = True
        yield from self._frames()
        if gone:
            raise EOFError

    def _frames(self) -> Iterator[Frame]:
        while len(self._in) >= HEADER.size:
            kind, line, number, length = HEADER.unpack_from(self._in)
            end = HEADER.size + length
            if len(self._in) < end:
                return
            body = bytes(memoryview(self._in)[HEADER.size : end])
            del self._in[:end]
            yield Frame(kind, line, number, body)

    def in_hand(self) -> InHand:
        """What the worker does just now. It may be changing: look twice where it matters."""
        try:
            return InHand(*CELL.unpack_from(self._cell))
        except ValueError:  # it is gone
            return InHand(0, 0, 0.0)

    def hang_up(self) -> None:
        """Tell the worker that nothing more will come: it ends when it has done what it has."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it at once, whatever it does; does not wait."""
        with suppress(OSError):
            self._popen.kill()

    def reap(self, deadline: Deadline) -> None:
        """Wait for its end, kill it at the deadline, and free everything."""
        self._connection.close()
        try:
            self._popen.wait(deadline.remaining())
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._cell.close()

    @property
    def how_it_ended(self) -> str:
        """In words, once it was reaped."""
        code = self._popen.returncode
        if code is not None and code < 0:
            with suppress(ValueError):
                return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


def _started(connection: int, cell: int) -> subprocess.Popen[bytes]:
    if os.name != "posix":
        msg = "worker processes need a POSIX system, such as Linux or macOS; on this one use threads"
        raise FlowError(msg)
    if not sys.executable:
        msg = "worker processes need a Python interpreter, but sys.executable is empty: this program embeds one"
        raise FlowError(msg)
    flags = [str(flag) for flag in subprocess._args_from_interpreter_flags()]  # type: ignore[attr-defined]  # noqa: SLF001  # as multiprocessing does, for want of a public name
    program = os.path.realpath(worker.__file__)
    arguments = (str(connection), str(cell), str(os.getpid()))
    return subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, *flags, "-P", program, *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=(connection, cell),
        process_group=0,  # Ctrl-C is sent to the owner's group, also while a worker is still starting
    )
