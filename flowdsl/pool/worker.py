"""The program of one worker process, and the frames in which it talks to its owner.

It stands alone: it is started by its path, so that nothing of the owner's main module is imported again, and before the
path of modules is known. It needs the standard library and cloudpickle, and nothing of this package. It imports what the functions need when
they arrive.
"""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from socket import socket
from typing import Any, Final, NamedTuple

SETUP, FUNCTION, FORGET, BATCH = range(1, 5)
"""To a worker: the path of modules and the initializer; a function under a number; it is not needed any more; values."""
READY, LOADED, FORGOTTEN, DONE, SPOILT = range(11, 16)
"""From a worker: it is set up; the function is there (its number is 0 if it is not); it is gone; what came of the next values
of a batch (how many stands where the function's number is elsewhere); a batch that it cannot read.
"""

HEADER: Final = struct.Struct("<BQQQ")
"""Of a frame: its kind, the number of the function, the number of the batch, and the length of what follows."""

CELL: Final = struct.Struct("<qqd")
"""In memory that worker and owner share: the batch in hand, the index of the record in hand, and when it was begun."""

PROTOCOL: Final = 5
TELL_SECONDS: Final = 0.05
"""What came of a batch is sent at its end, or after so long if it takes longer than it should."""
PARENT_SECONDS: Final = 0.5
"""How often a worker looks whether its parent still lives."""


class Raised(NamedTuple):
    """An exception on its way between processes; ``pickled`` is None for one that cannot make the journey."""

    pickled: bytes | None
    kind: str
    message: str
    traceback: str


Call = Callable[[Any], Any]


def dumps(value: object) -> bytes:
    """Pickle, functions and classes of the main module included.

    In a worker cloudpickle can be imported only once the path of modules is known, that is after ``SETUP``.
    """
    data: bytes = import_module("cloudpickle").dumps(value, protocol=PROTOCOL)
    return data


def described(error: BaseException) -> Raised:
    """What is sent of an exception. Never raises, whatever the exception's own methods do."""
    inner = error.__traceback__
    while inner is not None and inner.tb_frame.f_code.co_filename == __file__:
        inner = inner.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, inner))
    except Exception as broken:  # noqa: BLE001  # a user's __str__
        text = f"<its traceback cannot be printed: {type(broken).__name__}>"
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001  # as above
        message = f"<its __str__ raises {type(broken).__name__}>"
    return Raised(_pickled(error), type(error).__qualname__, message, text)


def _pickled(error: BaseException) -> bytes | None:
    try:
        data = dumps(error)
        return data if type(pickle.loads(data)) is type(error) else None  # noqa: S301  # what was pickled in the line before
    except BaseException:  # noqa: BLE001  # whatever a user's exception does when it is pickled
        return None


class Worker:
    """Receives functions and batches of values, calls, and sends what comes of it, until its owner hangs up."""

    def __init__(self, connection: socket, cell: mmap.mmap) -> None:
        self._connection = connection
        self._cell = cell
        self._calls: dict[int, Call | Raised] = {}
        self._contexts: dict[int, AbstractContextManager[Call]] = {}

    def run(self) -> None:
        """Serve until the owner closes its end; then close what is open."""
        serve: dict[int, Callable[[int, int, bytes], None]] = {
            SETUP: self._set_up,
            FUNCTION: self._load,
            FORGET: self._forget,
            BATCH: self._work,
        }
        with self._connection.makefile("rb") as frames:
            while len(head := frames.read(HEADER.size)) == HEADER.size:
                kind, line, number, length = HEADER.unpack(head)
                serve[kind](line, number, frames.read(length))
        for line in list(self._contexts):
            with suppress(BaseException):  # nobody is there to be told
                self._close(line)

    def _send(self, kind: int, line: int, number: int, body: bytes) -> None:
        self._connection.sendall(HEADER.pack(kind, line, number, len(body)) + body)

    def _set_up(self, line: int, number: int, body: bytes) -> None:
        sys.path[:], sys.argv[:], initializer = pickle.loads(body)  # noqa: S301  # from the owner
        raised = None
        try:
            if initializer is not None:
                pickle.loads(initializer)()  # noqa: S301  # from the owner
        except BaseException as error:  # noqa: BLE001  # the owner raises it
            raised = described(error)
        self._send(READY, line, number, dumps(raised))

    def _load(self, line: int, is_context: int, body: bytes) -> None:
        raised, is_there = None, 0
        try:
            loaded: Any = pickle.loads(body)  # noqa: S301  # from the owner
            is_there = 1
            if is_context:
                context: AbstractContextManager[Call] = loaded()
                self._calls[line] = context.__enter__()
                self._contexts[line] = context
            else:
                self._calls[line] = loaded
        except BaseException as error:  # noqa: BLE001  # the owner raises it
            raised = self._calls[line] = described(error)
        self._send(LOADED, line, is_there, dumps(raised))

    def _forget(self, line: int, number: int, _body: bytes) -> None:
        self._calls.pop(line, None)
        raised = None
        try:
            self._close(line)
        except BaseException as error:  # noqa: BLE001  # the owner raises it
            raised = described(error)
        gc.collect()  # a function may hold what the next one wants to have
        self._send(FORGOTTEN, line, number, dumps(raised))

    def _close(self, line: int) -> None:
        context = self._contexts.pop(line, None)
        if context is not None:
            context.__exit__(None, None, None)

    def _work(self, line: int, number: int, body: bytes) -> None:
        call = self._calls[line]
        if isinstance(call, Raised):
            self._send(SPOILT, line, number, dumps(call))
            return
        mark, cell, clock = CELL.pack_into, self._cell, time.monotonic
        began = clock()
        try:
            values: list[Any] = pickle.loads(body)  # noqa: S301  # from the owner
        except BaseException as error:  # noqa: BLE001  # the owner tells it of the record that is to blame
            self._send(SPOILT, line, number, dumps(described(error)))
            return
        results: list[Any] = []
        errors: dict[int, Raised] = {}
        for index, value in enumerate(values):
            now = clock()
            if now - began > TELL_SECONDS and results:
                self._tell(number, results, errors, now - began)
                results, errors, began = [], {}, now
            mark(cell, 0, number, index, now)
            try:
                results.append(call(value))
            except BaseException as error:  # noqa: BLE001  # whatever a user's function raises belongs to its record
                errors[len(results)] = described(error)
                results.append(None)
        mark(cell, 0, 0, 0, 0.0)
        self._tell(number, results, errors, clock() - began)

    def _tell(self, number: int, results: list[Any], errors: dict[int, Raised], seconds: float) -> None:
        self._send(DONE, len(results), number, _outcomes(results, errors, seconds))


def _outcomes(results: list[Any], errors: dict[int, Raised], seconds: float) -> bytes:
    """The body of a ``DONE``. Results that cannot be pickled become errors."""
    try:
        return dumps((results, errors, seconds))
    except BaseException:  # noqa: BLE001  # whatever a user's class does when it is pickled: find the one to blame
        for index, result in enumerate(results):
            try:
                dumps(result)
            except BaseException as error:  # noqa: BLE001  # as above
                results[index] = None
                text = f"the function's result cannot be sent back: {error}"
                errors[index] = described(TypeError(text))
    return dumps((results, errors, seconds))


def _end_with(parent: int) -> None:
    """End this process when its parent ended, whatever it is doing: nobody would end it otherwise."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def main(connection: str, cell: str, parent: str) -> None:
    """Run, with the numbers of two inherited files and of the parent's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, which ends its workers in order
    threading.Thread(target=_end_with, args=(int(parent),), name="flowdsl-parent", daemon=True).start()
    shared = mmap.mmap(int(cell), CELL.size)
    os.close(int(cell))
    with socket(fileno=int(connection)) as owner, suppress(ConnectionError):  # it may be gone
        Worker(owner, shared).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
