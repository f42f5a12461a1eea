"""On a real Kafka, beside the loop that one would write by hand, and beside sentry-arroyo.

``python3 tasks.py bench benchmarks/kafka.py``, or with options: ``--pairs 15 --records 1000000 --only sink``. Each run is a
process of its own; two contenders take turns, and what is told is the median of the ratios of their pairs.

The speed of a machine that is shared with others changes within tenths of a second. Contenders that only calculate are
therefore there at the same time and run in turn, a twentieth of a second each; those that wait for the broker run one
behind the other, since it would work for whoever is made to stand still.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import or_
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "benchmarks" / "contenders")]

from confluent_kafka import Producer  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # noqa: E402  # their documented place
from jobs import event, events, small  # type: ignore[import-not-found]  # noqa: E402  # found by the path above
from pairs import Result, Timing, table, told  # noqa: E402

from tests.kafka.server import KafkaServer, unique  # noqa: E402

PARTITIONS = 4
VISIT_SECONDS = 1.5
TURN_SECONDS = 0.05
Spans = list[tuple[float, float]]
Told = dict[str, Any]


class Bench:
    """A broker with topics, and contenders that are run on it."""

    def __init__(self, server: KafkaServer, pairs: int, records: int) -> None:
        self.address, self.pairs, self.records = server.address, pairs, records
        self._admin = AdminClient({"bootstrap.servers": server.address})
        self.topic = self.make("events")
        self.make(f"{self.topic}-out", exactly=True)
        self.fill(self.topic, records)

    def make(self, name: str, *, exactly: bool = False) -> str:
        topic = name if exactly else unique(name)
        self._admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
        return topic

    def fill(self, topic: str, records: int, make: Callable[[int], bytes] | None = None) -> None:
        """With keys and headers, for those who inherit them."""
        producer = Producer(
            {"bootstrap.servers": self.address, "linger.ms": 20, "queue.buffering.max.messages": 500_000}
        )
        made = [] if make else events(min(records, 100_000))
        for number in range(records):
            while True:
                try:
                    producer.produce(
                        topic,
                        make(number) if make else made[number % len(made)],
                        key=str(number % 5000),
                        partition=number % PARTITIONS,
                        headers=[("trace", b"1")],
                    )
                except BufferError:
                    producer.poll(0.05)
                else:
                    break
        producer.flush()

    def run(self, who: str, job: str, records: int, topic: str | None = None, group: str | None = None) -> Told:
        """Let one contender do one job; what its watch said."""
        return told_by(self.begin(who, job, records, topic, group))

    def begin(
        self, who: str, job: str, records: int, topic: str | None = None, group: str | None = None
    ) -> subprocess.Popen[str]:
        program = ROOT / "benchmarks" / "contenders" / f"by_{who}.py"
        arguments = [job, self.address, topic or self.topic, group or unique("g"), str(records)]
        return subprocess.Popen(
            [sys.executable, str(program), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def compare(
        self, job: str, one: str, other: str, limit: float, *, share: int = 1, only_calculates: bool = False
    ) -> None:
        """Print what ``one`` reaches of ``other``; ``share``: the other gets that part of the records, and of the pairs."""
        found: dict[str, list[Timing]] = {other: [], one: []}
        records = {one: self.records, other: self.records // share}
        for turn in range(self.pairs if share == 1 else self.pairs // 3 or 1):
            order = (one, other) if turn % 2 else (other, one)
            if only_calculates:
                begun = [self.begin(who, job, records[who]) for who in order]
                spans = in_turns(begun)
                timings = [timing(told_by(each), ran) for each, ran in zip(begun, spans, strict=True)]
            else:
                timings = [timing(self.run(who, job, records[who])) for who in order]
            for who, each in zip(order, timings, strict=True):
                found[who].append(each)
        reference, ours = (Result(who, tuple(timings)) for who, timings in found.items())
        table(job, [reference, ours])
        told(f"{one} / {other}", ours.speed(reference)[0], limit)
        sys.stdout.flush()

    def paced(self, job: str, one: str, other: str, per_second: int, seconds: float = 5.0) -> None:
        """Records at an even pace; print how late they arrive, and what they cost."""
        found: dict[str, list[Told]] = {one: [], other: []}
        for turn in range(self.pairs // 3 or 1):
            for who in (one, other) if turn % 2 else (other, one):
                topic = self.make("paced")
                with pace(self.address, topic, per_second):
                    found[who].append(self.run(who, job, int(per_second * seconds), topic))
        late = [a["median_ms"] - b["median_ms"] for a, b in zip(found[one], found[other], strict=True)]
        cpu = {who: [timing(told).cpu * 1e6 for told in each] for who, each in found.items()}
        effort = [a / b for a, b in zip(cpu[one], cpu[other], strict=True)]
        shown = ", ".join(
            f"{who} {median(told['median_ms'] for told in found[who]):.1f} ms (99 %: {median(told['p99_ms'] for told in found[who]):.1f})"
            for who in (one, other)
        )
        print(
            f"{job:16} {per_second}/s: {one} is {median(late):+.1f} ms later than {other} ({shown}), CPU per record "
            f"{median(effort):.2f} ({median(cpu[one]):.1f} and {median(cpu[other]):.1f} us)",
            flush=True,
        )

    def members(self) -> None:
        """One, two and four processes in one group; then while others come and go. Print what they reach together.

        What a guest had in hand when it was sent away may be nobody's, once the members have come to their end: somebody
        reads on, after all have gone. What is committed and was not seen by then is lost.
        """
        topic, records = self.make("company"), 4 * self.records
        self.fill(topic, records, event)
        for count in (1, 2, 4):
            for guests in (0, 3):
                group = unique("members")
                begun = [self.begin("flow", "in_company", records, topic, group) for _ in range(count)]
                begun += [self.visit(topic, group, records) for _ in range(guests)]
                ended = [told for told in map(told_by, begun) if told["records"]]
                seconds = max(told["last"] for told in ended) - min(told["first"] for told in ended)
                together = sum(told["records"] for told in ended)
                rest = self.run("flow", "in_company", records, topic, group)
                seen = reduce(or_, (int(told["seen"], 16) for told in [*ended, rest])).bit_count()
                beside = f", {guests} come and go" if guests else ""
                print(
                    f"{count} members{beside}: {together / seconds / 1000:.0f} k/s, {seen} of {records} records, "
                    f"{together + rest['records'] - seen} of them again, {rest['records']} when all had gone",
                    flush=True,
                )
                assert seen == records

    def visit(self, topic: str, group: str, records: int) -> subprocess.Popen[str]:
        """Somebody joins, and is sent away a moment later."""
        guest = self.begin("flow", "in_company", records, topic, group)
        time.sleep(VISIT_SECONDS)
        guest.terminate()
        return guest

    def memory(self) -> None:
        """Print how much memory there is after as many small records as the others read, and after ten times as many.

        The most of it is what librdkafka fetched ahead, in whatever pieces its threads got from the C library.
        """
        topic, records = self.make("small"), 10 * self.records
        self.fill(topic, records, small)
        for who in ("flow", "hand"):
            early, late = self.run(who, "in_memory", records, topic)["megabytes"]
            text = f"memory, {who}: {early:.0f} MB after {self.records} records, {late:.0f} MB after {records}"
            print(text, flush=True)


def told_by(process: subprocess.Popen[str]) -> Told:
    """What a contender has to say at its end."""
    output, errors = process.communicate(timeout=600)
    if process.returncode == -SIGTERM:
        return {"records": 0}  # it was sent away before it had begun
    if process.returncode or not output:
        sys.exit(f"{process.args!r} failed: {errors[-3000:]}")
    told: Told = json.loads(output.strip().splitlines()[-1])
    return told


def timing(told: Told, ran: Spans | None = None) -> Timing:
    """Of one contender; ``ran``: when it did, if others had their turns meanwhile."""
    seconds = told["seconds"]
    if ran is not None:
        began, ended = told["began"], told["began"] + seconds
        seconds = sum(max(0.0, min(stop, ended) - max(start, began)) for start, stop in ran)
    return Timing(seconds / told["records"], told["cpu"] / told["records"])


def in_turns(processes: Sequence[subprocess.Popen[str]]) -> list[Spans]:
    """Let one of them run at a time until all are over; tells when each of them ran, by the clock that they all have."""
    ran: list[Spans] = [[] for _ in processes]
    try:
        for process in processes:
            process.send_signal(SIGSTOP)
        while any(process.poll() is None for process in processes):
            for process, spans in zip(processes, ran, strict=True):
                if process.poll() is None:
                    began = time.perf_counter()
                    process.send_signal(SIGCONT)
                    time.sleep(TURN_SECONDS)
                    process.send_signal(SIGSTOP)
                    spans.append((began, time.perf_counter()))
    except BaseException:
        for process in processes:
            process.kill()  # one that stands still would stay for ever
        raise
    return ran


@contextmanager
def pace(address: str, topic: str, per_second: int) -> Iterator[None]:
    """Somebody sends the time of day, evenly, in another process."""
    program = ROOT / "benchmarks" / "contenders" / "pace.py"
    process = subprocess.Popen([sys.executable, str(program), address, topic, str(per_second)], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.communicate(timeout=30)  # it ends with its input


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument(
        "--only", choices=["sink", "topic", "inherit", "latency", "cpu", "members", "memory"], action="append"
    )
    given = parser.parse_args()
    server = KafkaServer(fast_start=False)
    try:
        bench = Bench(server.start(), given.pairs, given.records)
        parts: dict[str, Callable[[], None]] = {
            "sink": lambda: bench.compare("into_a_sink", "flow", "hand", 0.95, only_calculates=True),
            "sink-arroyo": lambda: bench.compare("into_a_sink", "flow", "arroyo", 9.0, share=8, only_calculates=True),
            "topic": lambda: bench.compare("into_a_topic", "flow", "hand", 0.95),
            "topic-arroyo": lambda: bench.compare("into_a_topic", "flow", "arroyo", 18.0, share=8),
            "inherit": lambda: bench.compare("with_everything", "flow", "hand", 0.85),
            "latency-100": lambda: bench.paced("one_by_one", "flow", "hand", 100),
            "latency-1000": lambda: bench.paced("one_by_one", "flow", "hand", 1000),
            "cpu": lambda: bench.paced("as_they_come", "flow", "hand", 20_000),
            "members": bench.members,
            "memory": bench.memory,
        }
        for name, part in parts.items():
            if not given.only or name.partition("-")[0] in given.only:
                part()
    finally:
        server.remove()


if __name__ == "__main__":
    main()
