"""What goes wrong, and how often: drawn from one random generator, so that a seed tells everything."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import evolve, frozen

from flowdsl.clock import Clock
from flowdsl.strategies.interface import MessageRejected, ProcessingStrategy
from flowdsl.types import Message


class SimulatedFault(Exception):  # noqa: N818  # named for what it is
    """A step, a sink or the broker was made to fail."""


@frozen(kw_only=True)
class Weather:
    """How bad a run is: chances for one call each; seconds."""

    eager: bool
    partitions: int
    gaps: float
    reject: float
    step_fails: float
    sink_fails: float
    sink_slow: float
    read_fails: float
    commit_lost: float
    commit_delay: float
    produce_delay: float
    produce_partial: float
    crash: float
    freeze: float
    leave: float
    join_timeout: float
    stop_timeout: float
    commit_seconds: float | None
    commit_messages: int | None

    @classmethod
    def drawn(cls, random: Random) -> Weather:
        """The weather of one seed: each kind of fault is absent in some, rare in others, frequent in a few."""

        def chance(most: float) -> float:
            return random.choice((0.0, most / 8, most / 2, most))

        by_messages = random.random() < 0.3
        return cls(
            eager=random.random() < 0.4,
            partitions=random.randint(1, 4),
            gaps=chance(0.4),
            reject=chance(0.6),
            step_fails=chance(0.02),
            sink_fails=chance(0.04),
            sink_slow=chance(0.2),
            read_fails=chance(0.02),
            commit_lost=chance(0.3),
            commit_delay=random.choice((0.0, 0.05, 0.4)),
            produce_delay=random.choice((0.0, 0.02, 0.3)),
            produce_partial=chance(0.4),
            crash=chance(0.04),
            freeze=chance(0.02),
            leave=chance(0.03),
            join_timeout=random.choice((0.0, 0.05, 0.5, 3.0)),
            stop_timeout=random.choice((0.0, 0.2, 5.0)),
            commit_seconds=None if by_messages else random.choice((0.05, 0.3, 1.0)),
            commit_messages=random.choice((1, 5, 20)) if by_messages else None,
        )


CALM: dict[str, float] = dict.fromkeys(
    (
        "gaps reject step_fails sink_fails sink_slow read_fails commit_lost commit_delay produce_delay produce_partial "
        "crash freeze leave"
    ).split(),
    0.0,
)
"""What a run without faults changes."""


class Dice:
    """Draws faults, as long as there are to be any."""

    def __init__(self, random: Random, weather: Weather) -> None:
        self.random, self.weather = random, weather
        self.calm = False

    def calm_down(self) -> None:
        """From here on nothing goes wrong, and whoever begins now has time to end."""
        self.calm = True
        self.weather = evolve(self.weather, join_timeout=3.0, stop_timeout=60.0)

    def falls(self, chance: float) -> bool:
        return not self.calm and chance > 0 and self.random.random() < chance

    def delay(self, most: float) -> float:
        return 0.0 if self.calm or not most else self.random.random() * most


class FaultyStage(ProcessingStrategy[Any]):
    """Stands before a stage: rejects some messages, and fails on some, before the stage sees them."""

    def __init__(self, stage: ProcessingStrategy[Any], dice: Dice, *, fails: bool) -> None:
        self._stage, self._dice, self._fails = stage, dice, fails

    def submit(self, message: Message[Any]) -> None:
        weather = self._dice.weather
        if self._dice.falls(weather.reject):
            raise MessageRejected
        if self._fails and self._dice.falls(weather.step_fails):
            text = "a stage was made to fail"
            raise SimulatedFault(text)
        self._stage.submit(message)

    def poll(self) -> None:
        self._stage.poll()

    def close(self) -> None:
        self._stage.close()

    def join(self, timeout: float | None = None) -> None:
        self._stage.join(timeout)

    def terminate(self) -> None:
        self._stage.terminate()

    def next_deadline(self) -> float | None:
        return self._stage.next_deadline()

    def held_by(self) -> str | None:
        return self._stage.held_by()


class Slowness:
    """Lets time pass inside user functions, now and then more than anybody expects."""

    def __init__(self, dice: Dice, clock: Clock) -> None:
        self._dice, self._clock = dice, clock

    def pass_time(self) -> None:
        if self._dice.falls(self._dice.weather.sink_slow):
            self._clock.sleep(self._dice.random.choice((0.01, 0.1, 0.7)))
