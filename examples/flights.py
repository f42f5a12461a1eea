"""How late is each carrier: a month of flights from New York City.

27,004 records go to a topic, and from there through a pipeline into a small table. 606 of them have no delays, mostly
because the flight was cancelled: they cannot become a `Flight`, and end among the dead letters with the reason.

Run it with: python examples/flights.py [--broker URL]. Without a URL the broker is one in memory.
"""

import argparse
import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import msgspec

from flowdsl import JSON, batch, connect, dead_letter, filter_, map_, sink

DATA = Path(__file__).parent / "data"
TEXTS = {"carrier", "tailnum", "origin", "dest"}

with (DATA / "airlines.csv").open(newline="") as airlines:
    NAMES = {row["carrier"]: row["name"] for row in csv.DictReader(airlines)}


class Flight(msgspec.Struct):
    """What the pipeline needs of a record. A record without these, or of other types, is a dead letter."""

    carrier: str
    sched_dep_time: int  # 517 is 05:17
    dep_delay: int  # minutes
    arr_delay: int


class Landing(NamedTuple):
    carrier: str
    delay: int


def raw_flights() -> Iterator[dict[str, Any]]:
    with gzip.open(DATA / "flights-2013-01.csv.gz", "rt", newline="") as rows:
        for row in csv.DictReader(rows):
            yield {name: text if name in TEXTS else int(text) if text else None for name, text in row.items()}


def by_day(flight: Flight) -> bool:
    return 600 <= flight.sched_dep_time < 2200


def named(flight: Flight) -> Landing:
    return Landing(NAMES[flight.carrier], flight.arr_delay)


class Table:
    """The delays of each carrier; the sink of the pipeline."""

    def __init__(self) -> None:
        self.delays: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, landings: list[Landing]) -> None:
        for landing in landings:
            self.delays[landing.carrier].append(landing.delay)

    def __str__(self) -> str:
        lines = [f"{'carrier':<28}{'flights':>8}{'mean delay':>13}{'over 15 min late':>18}"]
        for carrier, delays in sorted(self.delays.items(), key=lambda item: -len(item[1])):
            late = sum(delay > 15 for delay in delays) / len(delays)
            lines.append(f"{carrier:<28}{len(delays):>8,}{mean(delays):>9.1f} min{late:>18.0%}")
        return "\n".join(lines)


def main(url: str | None) -> None:
    table = Table()
    with connect(url) as broker:
        broker.create_topic("flights", partitions=4)
        broker.create_topic("flights-dead")
        broker.write("flights", raw_flights(), key=lambda flight: flight["carrier"], encode=JSON)

        flow = (
            broker.source("flights", group_id="delays", decode=JSON(Flight))
            | filter_(by_day)
            | map_(named)
            | batch(500, within=1.0)
            | sink(table.add)
        )
        stats = flow.run(until="end", on_error=dead_letter(broker.sink("flights-dead")), progress=True)
        dead = broker.read("flights-dead")

    print(f"\n{table}\n")
    print(
        f"{stats.read:,} records read, {stats.filtered} of them at night, dead letters: {stats.failed}. The first one:"
    )
    for name, value in dead[0].headers:
        print(f"  {name:<20} {(value or b'').decode()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How late is each carrier? A month of flights from New York City.")
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="such as kafka://localhost:9092 or local: (default: $FLOWDSL_BROKER, or in memory)",
    )
    main(parser.parse_args().broker)
