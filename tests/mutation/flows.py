"""The flows on which mutants are hunted, and on which the unbroken library has to hold: one for every kind of stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from attrs import frozen

from flowdsl import (
    ClosedFlow,
    LocalBroker,
    Partition,
    Record,
    batch,
    broadcast,
    dead_letter,
    distinct_until_changed,
    filter_,
    flat_map,
    fold,
    from_iterable,
    map_,
    merge,
    route,
    scan,
    sink,
    take,
    through,
    to_list,
    unbatch,
    with_record,
)
from flowdsl.processing import InvalidMessage
from flowdsl.strategies import (
    Commit,
    CommitOffsets,
    FilterStep,
    MessageRejected,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    RunTask,
)
from flowdsl.testing.virtual import BEGINNING
from flowdsl.types import FILTERED_PAYLOAD, FilteredPayload, Message, Value

BROKER = LocalBroker()
RECORDS = tuple(b"r%02d" % number for number in range(40))
KEYED = tuple(Record("orders", 0, 0, b"k" + value, value, (("h", value),)) for value in RECORDS)
WITH_NULLS = tuple(
    Record("orders", 0, 0, b"k" + value, None if value.endswith(b"1") else value, (), BEGINNING + timedelta(days=day))
    for day, value in enumerate(RECORDS, 1)
)


@frozen
class Case:
    """One flow, and what ``simulate`` has to know of it."""

    flow: ClosedFlow[Any]
    records: Sequence[Any] = RECORDS
    trace: Callable[[Any], Any] | None = None


def orders() -> Any:
    return BROKER.source("orders", group_id="g")


def nothing(_: object) -> None:
    """A sink; the simulation puts its own in the place."""


class Table:
    """A sink that buffers."""

    def write(self, rows: Sequence[bytes]) -> None:
        """Keep them until they are flushed."""

    def flush(self) -> None:
        """Now they are safe."""


def is_wanted(value: bytes) -> bool:
    return not value.endswith((b"3", b"4", b"5"))


def even(value: bytes) -> bytes:
    """Fails for a record in five."""
    if int(value[1:]) % 5 == 0:
        msg = "odd one out"
        raise ValueError(msg)
    return value


def as_sent(value: bytes) -> Any:
    """No bytes for a record in five, which is found out only once all of a chunk are encoded."""
    return value if int(value[1:]) % 5 else len(value)


class Truth:
    """Whether a value is wanted; for a record in five nobody can say."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return is_wanted(even(self._value))


def all_even(values: list[bytes]) -> list[bytes]:
    return [even(value) for value in values]


def twice(value: bytes) -> list[bytes]:
    return [value, value[:1] + b"1" + value[1:]]


def counted(state: tuple[int, bytes], value: bytes) -> tuple[int, bytes]:
    return state[0] + 1, value


def without(state: tuple[bytes, ...], value: bytes) -> tuple[bytes, ...]:
    """A state that knows what it has seen: it must not outlive what is read again."""
    if value in state:
        msg = f"{value!r} is in the state already"
        raise AssertionError(msg)
    return (*state, value)


def joined(state: tuple[bytes, ...], value: bytes) -> tuple[bytes, ...]:
    return (*state, value)


class Pairs(ProcessingStrategy[bytes]):
    """Written by hand, in the plainest way: hands on values two by two, and one alone at the end."""

    def __init__(self, downstream: ProcessingStrategy[Any]) -> None:
        self._downstream = downstream
        self._held: list[Message[Any]] = []

    def poll(self) -> None:
        self._downstream.poll()

    def submit(self, message: Message[bytes | FilteredPayload]) -> None:
        if len(self._held) < 1 or isinstance(message.payload, FilteredPayload):
            self._held.append(message)
            return
        self._hand_on([*self._held, message])
        self._held.clear()

    def close(self) -> None:
        pass

    def join(self, timeout: float | None = None) -> None:
        with suppress(MessageRejected):  # it will be read again
            self._hand_on(self._held)
        self._downstream.close()
        self._downstream.join(timeout)

    def terminate(self) -> None:
        self._downstream.terminate()

    def _hand_on(self, messages: Sequence[Message[Any]]) -> None:
        if not messages:
            return
        offsets: dict[Partition, int] = {}
        for each in messages:
            offsets.update(each.committable)
        values = [each.payload for each in messages if not isinstance(each.payload, FilteredPayload)]
        self._downstream.submit(Message(Value(values or FILTERED_PAYLOAD, offsets)))


class Lanes(ProcessingStrategy[bytes]):
    """Written by hand: holds the last value of each partition until its next one comes, or the end."""

    def __init__(self, downstream: ProcessingStrategy[Any]) -> None:
        self._downstream = downstream
        self._held: dict[Partition, Message[Any]] = {}

    def poll(self) -> None:
        self._downstream.poll()

    def submit(self, message: Message[bytes | FilteredPayload]) -> None:
        (partition,) = message.committable
        if partition in self._held:
            self._downstream.submit(self._held[partition])
        self._held[partition] = message

    def close(self) -> None:
        pass

    def join(self, timeout: float | None = None) -> None:
        with suppress(MessageRejected):  # it will be read again
            for each in self._held.values():
                self._downstream.submit(each)
        self._downstream.close()
        self._downstream.join(timeout)

    def terminate(self) -> None:
        self._downstream.terminate()


class ByPartition:
    """Finishes records out of the order in which they came."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int], downstream: ProcessingStrategy[Any]
    ) -> ProcessingStrategy[Any]:
        return Lanes(downstream)


class InTheMiddle:
    """Filters, then holds back, as strategies written by hand do."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int], downstream: ProcessingStrategy[Any]
    ) -> ProcessingStrategy[Any]:
        return FilterStep(lambda message: is_wanted(message.payload), RunTask(_payload, Pairs(downstream)))


def _payload(message: Message[bytes]) -> bytes:
    return message.payload + b"!"


def _even(message: Message[bytes]) -> bytes:
    if int(message.payload[1:]) % 5 == 0:
        raise InvalidMessage.from_value(message)
    return message.payload


class Refusing:
    """Calls some records invalid."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int], downstream: ProcessingStrategy[Any]
    ) -> ProcessingStrategy[Any]:
        return RunTask(_even, downstream)


class RefusingAtTheEnd(ProcessingStrategyFactory[bytes]):
    """Calls some records invalid, and commits by itself."""

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> ProcessingStrategy[bytes]:
        return RunTask(_even, CommitOffsets(commit))


class AtTheEnd(ProcessingStrategyFactory[bytes]):
    """Commits by itself."""

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> ProcessingStrategy[bytes]:
        return RunTask(_payload, CommitOffsets(commit))


def cases() -> dict[str, Case]:
    """All flows, by name. Fresh ones: a simulation shares nothing with the next."""
    letters = BROKER.sink("dead")
    return {
        "map": Case(orders() | map_(bytes.upper) | filter_(is_wanted) | map_(bytes.lower) | sink(nothing)),
        "filter and batch": Case(orders() | filter_(is_wanted) | batch(4, within=0.5) | sink(nothing)),
        "batch without within": Case(orders() | filter_(is_wanted) | batch(7) | sink(nothing)),
        "closed branches": Case(
            orders()
            | broadcast(
                batch(3, within=0.3) | sink(nothing, name="slow"), map_(bytes.upper) | sink(nothing, name="fast")
            )
        ),
        "open branches": Case(
            orders()
            | broadcast(map_(lambda value: value + b"a"), batch(3) | unbatch() | map_(lambda value: value + b"b"))
            | batch(4)
            | sink(nothing)
        ),
        "route": Case(
            orders()
            | route(lambda value: value[-1:], {b"1": batch(2) | sink(nothing, name="ones")}, default=sink(nothing))
        ),
        "open route": Case(
            orders()
            | route(
                lambda value: value[-1:],
                {b"1": batch(2) | unbatch(), b"2": filter_(is_wanted)},
                default=map_(bytes.upper),
            )
            | sink(nothing)
        ),
        "two topics": Case(
            merge(
                BROKER.source("orders", group_id="g") | filter_(is_wanted),
                BROKER.source("returns", group_id="g") | batch(3, within=0.4) | unbatch(),
            )
            | map_(bytes.upper)
            | sink(nothing)
        ),
        "topic": Case(orders() | filter_(is_wanted) | map_(bytes.upper) | BROKER.sink("out")),
        "topic with keys": Case(orders() | filter_(is_wanted) | map_(bytes.upper) | BROKER.sink("out"), KEYED),
        "table": Case(orders() | filter_(is_wanted) | sink(Table(), name="table")),
        "nulls, and what cannot be sent": Case(
            BROKER.source("orders", group_id="g", tombstones="skip")
            | BROKER.sink("out", encode=as_sent, on_error=dead_letter(letters)),
            WITH_NULLS,
        ),
        "dead letters": Case(orders() | map_(even, on_error=dead_letter(letters)) | sink(nothing)),
        "dead letters behind a filter": Case(
            orders()
            | filter_(is_wanted)
            | flat_map(lambda value: [even(value)], on_error=dead_letter(letters))
            | sink(nothing)
        ),
        "dead groups": Case(
            orders()
            | batch(4, within=0.5)
            | map_(all_even, on_error=dead_letter(batch(3, within=0.2) | sink(nothing, name="dead")))
            | sink(nothing)
        ),
        "dead letters of several": Case(
            orders() | flat_map(twice) | map_(even, on_error=dead_letter(letters)) | sink(nothing)
        ),
        "skipped untold": Case(orders() | filter_(Truth, on_error="skip") | map_(bytes.upper) | sink(nothing)),
        "skipped": Case(orders() | map_(even, on_error="skip") | batch(3, within=0.3) | sink(nothing)),
        "skipped before several": Case(
            orders() | map_(even, on_error="skip") | flat_map(twice) | map_(bytes.upper) | sink(nothing)
        ),
        "take": Case(orders() | filter_(is_wanted) | take(6) | sink(nothing)),
        "take of several": Case(orders() | flat_map(twice) | take(5) | sink(nothing)),
        "take of groups": Case(orders() | filter_(is_wanted) | batch(3, within=0.3) | take(2) | sink(nothing)),
        "scan": Case(orders() | scan(counted, (0, b"")) | sink(nothing), trace=lambda state: state[1]),
        "scan of each once": Case(orders() | scan(without, ()) | sink(nothing), trace=lambda state: state[-1:]),
        "fold": Case(orders() | fold(joined, (), size=5, within=0.4) | sink(nothing)),
        "regrouped": Case(
            orders()
            | broadcast(map_(lambda value: value + b"a"), batch(5) | unbatch() | map_(lambda value: value + b"b"))
            | batch(2)
            | unbatch()
            | batch(3)
            | sink(nothing)
        ),
        "with its record": Case(orders() | with_record() | filter_(lambda pair: is_wanted(pair[0])) | sink(nothing)),
        "several of one": Case(
            orders() | flat_map(lambda value: [value, value + b"+"]) | batch(3) | unbatch() | to_list()
        ),
        "none of one": Case(
            orders() | flat_map(lambda value: [value] * is_wanted(value)) | batch(3, within=0.3) | sink(nothing)
        ),
        "unlike the last": Case(orders() | distinct_until_changed(lambda value: value[:2]) | sink(nothing)),
        "in the middle": Case(orders() | through(InTheMiddle()) | sink(nothing)),
        "several in the middle": Case(orders() | flat_map(twice) | through(InTheMiddle()) | sink(nothing)),
        "by partition": Case(orders() | through(ByPartition()) | map_(bytes.upper) | sink(nothing)),
        "invalid in the middle": Case(
            orders() | through(Refusing(), on_error=dead_letter(letters)) | batch(2, within=0.3) | sink(nothing)
        ),
        "invalid at the end": Case(
            orders() | map_(bytes.upper) | through(RefusingAtTheEnd(), on_error=dead_letter(letters)),
        ),
        "at the end": Case(orders() | map_(bytes.upper) | through(AtTheEnd())),
        "in memory": Case(from_iterable([]) | filter_(is_wanted) | batch(3) | sink(nothing)),
    }


CASES = cases()
