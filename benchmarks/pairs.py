"""Paired rounds: what is compared runs in turn, in one process, so that a slower minute of the machine hits all alike.

Every round is begun with the garbage collected and the collector on, whoever runs. Ratios are medians of rounds; beside
the wall clock stands the time of the processor, which neighbours on the machine disturb less.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median

from attrs import frozen


@frozen
class Contender:
    """One way to do the job. ``records``: how many one call of ``run`` handles."""

    name: str
    run: Callable[[], object]
    records: int


@frozen
class Timing:
    """Seconds for one record."""

    wall: float
    cpu: float


@frozen
class Result:
    """The rounds of one contender."""

    name: str
    timings: tuple[Timing, ...]

    def wall(self) -> float:
        return median(timing.wall for timing in self.timings)

    def cpu(self) -> float:
        return median(timing.cpu for timing in self.timings)

    def speed(self, reference: Result) -> tuple[float, float]:
        """How fast, as a multiple of the reference: by the wall clock, and by the time of the processor."""
        pairs = list(zip(reference.timings, self.timings, strict=True))
        return median(one.wall / other.wall for one, other in pairs), median(
            one.cpu / other.cpu for one, other in pairs
        )


def alternate(contenders: Sequence[Contender], rounds: int) -> list[Result]:
    """Run all, round by round, each round beginning with another one; the first round does not count."""
    timings: dict[str, list[Timing]] = {contender.name: [] for contender in contenders}
    for number in range(rounds + 1):
        first = number % len(contenders)
        for contender in [*contenders[first:], *contenders[:first]]:
            timing = timed(contender)
            if number:
                timings[contender.name].append(timing)
    return [Result(name, tuple(each)) for name, each in timings.items()]


def timed(contender: Contender) -> Timing:
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    contender.run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Timing(wall / contender.records, cpu / contender.records)


def table(title: str, results: Sequence[Result]) -> None:
    """Print what was measured; the first is what the others are compared with."""
    reference = results[0]
    width = max(len(result.name) for result in results)
    print(f"\n{title}, Python {sys.version.split()[0]}, {len(reference.timings)} rounds")
    print(f"{'':{width}}  ns/record  speed, {reference.name} = 1")
    print(f"{'':{width}}       wall    wall     cpu")
    for result in results:
        wall, cpu = result.speed(reference)
        print(f"{result.name:{width}}  {result.wall() * 1e9:9,.0f}  {wall:6.3f}  {cpu:6.3f}")


def told(name: str, figure: float, limit: float) -> None:
    """Print a figure beside what it should reach at least."""
    print(f"{name}: {figure:.2f}, at least {limit:.2f} expected: {'ok' if figure >= limit else 'NOT REACHED'}")
