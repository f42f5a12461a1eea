"""Stands between clients and a broker, and can have it leave as the last broker of a cluster does."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Self

METADATA = 3
FLEXIBLE = 9
"""The version of answers with metadata from which on their lists have lengths of seven bits to a byte."""


class Middleman:
    """Listens on ``port`` once it is entered, and passes on what is said to and by the broker on the other.

    While it leaves, a broker that ends says to those who ask that its cluster has no brokers, and hangs up.
    """

    def __init__(self, port: int, broker: int) -> None:
        self._port, self._broker = port, broker
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="middleman", daemon=True)
        self._lines: set[asyncio.StreamWriter] = set()
        self._is_leaving = False
        self.denied = 0
        """How often it was said that there are no brokers."""

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", self._port))
        except OSError:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._do(self._end())
        finally:
            self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def leave(self) -> None:
        """From now on. Who is connected is hung up on, and asks when it comes again."""
        self._is_leaving = True
        self._do(self._hang_up())

    def come_back(self) -> None:
        self._is_leaving = False

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _hang_up(self) -> None:
        for line in list(self._lines):
            line.close()

    async def _end(self) -> None:
        self._server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await self._hang_up()
            await asyncio.wait(others, timeout=0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked: dict[int, tuple[int, int]] = {}
        lines = [writer]
        self._lines.add(writer)
        try:
            answers, questions = await asyncio.open_connection("127.0.0.1", self._broker)
            lines.append(questions)
            self._lines.add(questions)
            asking = asyncio.ensure_future(self._pass_questions(reader, questions, asked))
            try:
                await self._pass_answers(answers, writer, asked)
            finally:
                writer.close()
                await asking
        except (OSError, asyncio.IncompleteReadError):
            pass  # somebody hung up
        finally:
            for line in lines:
                line.close()
                with contextlib.suppress(OSError):
                    await line.wait_closed()
            self._lines.difference_update(lines)

    async def _pass_questions(
        self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                question = await _one(reader)
                kind, version, number = struct.unpack(">hhi", question[:8])
                asked[number] = kind, version
                await _say(to, question)
        to.close()

    async def _pass_answers(
        self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        while True:
            answer = await _one(reader)
            kind, version = asked.pop(struct.unpack(">i", answer[:4])[0])
            if kind == METADATA and self._is_leaving:
                assert version >= FLEXIBLE
                self.denied += 1
                await _say(to, _without_brokers(answer))
                return
            await _say(to, answer)


async def _one(reader: asyncio.StreamReader) -> bytes:
    """A question or an answer: its length, then itself."""
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


async def _say(to: asyncio.StreamWriter, words: bytes) -> None:
    to.write(struct.pack(">i", len(words)) + words)
    await to.drain()


def _without_brokers(answer: bytes) -> bytes:
    """The same metadata, of no brokers. Before their list: the number of the question, no tags, the time to wait."""
    begin = 4 + 1 + 4
    count, at = _number(answer, begin)
    for _ in range(count - 1):
        at += 4  # its id
        at = _behind_text(answer, at) + 4  # its host and port
        at = _behind_text(answer, at) + 1  # its rack, and no tags
    return answer[:begin] + b"\x01" + answer[at:]


def _behind_text(answer: bytes, at: int) -> int:
    length, at = _number(answer, at)
    return at + max(0, length - 1)


def _number(answer: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits to a byte, and where it ends."""
    number = shift = 0
    while True:
        number |= (answer[at] & 127) << shift
        shift += 7
        at += 1
        if answer[at - 1] < 128:
            return number, at
