"""The engine alone: whole runs over values in memory, beside the loop that calls the same functions, and arroyo's chain."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from arroyo.processing.strategies import BatchStep, CommitOffsets, FilterStep, RunTask
from arroyo.types import BrokerValue, FilteredPayload, Message, Partition, Topic
from events import (
    BATCH,
    Event,
    decode,
    enrich,
    enrich_typed,
    events,
    hand_written,
    keep,
    keep_typed,
    write,
)
from pairs import Contender, alternate, table, told

from flowdsl import JSON, batch, filter_, from_iterable, map_, sink
from flowdsl import decode as decode_

ROUNDS = 31
RECORDS = 100_000
ARROYO_RECORDS = 10_000
STEPS = 30
LOOP_LIMIT = 0.85 if sys.version_info < (3, 12) else 0.80
ARROYO_LIMIT = 7.0


def main() -> None:
    with_decoding()
    without_decoding()
    many_steps()


def with_decoding() -> None:
    data = events(RECORDS)
    flow = from_iterable(data) | map_(decode) | filter_(keep) | map_(enrich) | batch(BATCH) | sink(write)
    typed = (
        from_iterable(data)
        | decode_(JSON(Event))
        | filter_(keep_typed)
        | map_(enrich_typed)
        | batch(BATCH)
        | sink(write)
    )
    results = alternate(
        [
            Contender("loop", lambda: hand_written(data), RECORDS),
            Contender("flow", flow.run, RECORDS),
            Contender("flow, decode(JSON(Event))", typed.run, RECORDS),
            Contender("arroyo", arroyo_chain(data[:ARROYO_RECORDS]), ARROYO_RECORDS),
        ],
        ROUNDS,
    )
    table(f"Events of {sum(map(len, data)) // RECORDS} bytes: decode, filter, map, batch, sink", results)
    loop, engine, _, arroyo = results
    told("flow / loop", engine.speed(loop)[0], LOOP_LIMIT)
    told("flow / loop, processor", engine.speed(loop)[1], LOOP_LIMIT)
    told("flow / arroyo", engine.speed(arroyo)[0], ARROYO_LIMIT)


def arroyo_chain(data: list[bytes]) -> Callable[[], None]:
    """The same with strategies of arroyo, fed with messages that are there already."""
    partition, now = Partition(Topic("events"), 0), datetime.now(UTC)
    messages = [Message(BrokerValue(raw, partition, offset, now)) for offset, raw in enumerate(data)]

    def drop(offsets: Any, force: bool = False) -> None:
        """Where offsets would be committed."""

    def run() -> None:
        ends = RunTask(lambda message: write([value.payload for value in message.payload]), CommitOffsets(drop))
        batches: Any = BatchStep(BATCH, 1e9, ends)
        enriched: Any = RunTask(lambda message: enrich(message.payload), batches)
        kept: Any = FilterStep(lambda message: keep(message.payload), enriched)
        decoded: Any = RunTask(lambda message: decode(message.payload), kept)
        for message in messages:
            decoded.submit(message)
            decoded.poll()
        decoded.close()
        decoded.join()

    assert not any(isinstance(message.payload, FilteredPayload) for message in messages)
    return run


def same(value: int) -> int:
    return value


def is_even(value: int) -> bool:
    return value % 2 == 0


def without_decoding() -> None:
    """Functions that cost nothing: what is left is the engine."""
    data = list(range(RECORDS))

    def loop() -> None:
        group: list[int] = []
        for value in data:
            mapped = same(value)
            if is_even(mapped):
                group.append(same(mapped))
                if len(group) == BATCH:
                    write(group)
                    group = []

    flow = from_iterable(data) | map_(same) | filter_(is_even) | map_(same) | batch(BATCH) | sink(write)
    loop_, engine = alternate([Contender("loop", loop, RECORDS), Contender("flow", flow.run, RECORDS)], ROUNDS)
    table("Functions that cost nothing: map, filter, map, batch, sink", [loop_, engine])
    print(f"the engine's own cost: {(engine.cpu() - loop_.cpu()) * 1e9 / 5:.0f} ns per record and step")


def many_steps() -> None:
    data = list(range(RECORDS // 10))
    functions = [same] * STEPS

    def loop() -> None:
        for value in data:
            result = value
            for function in functions:
                result = function(result)
            write([result])

    flow: Any = from_iterable(data)
    for _ in range(STEPS):
        flow = flow | map_(same)
    closed = flow | sink(lambda value: write([value]))
    loop_, engine = alternate([Contender("loop", loop, len(data)), Contender("flow", closed.run, len(data))], ROUNDS)
    table(f"{STEPS} steps that cost nothing", [loop_, engine])
    print(f"the engine's own cost: {(engine.cpu() - loop_.cpu()) * 1e9 / STEPS:.0f} ns per record and step")


if __name__ == "__main__":
    main()
