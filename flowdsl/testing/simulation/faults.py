"""What goes wrong, and how often: drawn from one random generator, so that a seed tells everything."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from flowdsl.clock import Clock
from flowdsl.interface.strategy import MessageRejected, ProcessingStrategy
from flowdsl.types import Message

SESSION = 8.0
"""Seconds after which a member that does not read is expelled."""
MOST_AT_ONCE = 12
"""Records of one read, so that reads end in the middle of things."""
OFFER_SECONDS = 0.05
"""How long a stalled stage takes to reject."""


class SimulatedFault(Exception):  # noqa: N818  # named for what it is
    """A step, a sink or the broker was made to fail."""


class Weather(Struct, frozen=True, kw_only=True):
    """How bad a run is: chances for one call each; seconds."""

    eager: bool
    partitions: int
    gaps: float
    late: float
    reject: float
    stall: float
    step_fails: float
    sink_fails: float
    slow: float
    very_slow: float
    signal: float
    read_fails: float
    read_twice: float
    read_freezes: float
    position_late: float
    commit_lost: float
    commit_delay: float
    produce_delay: float
    produce_partial: float
    crash: float
    freeze: float
    leave: float
    bounded: float
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
            late=random.choice((0.0, 0.5, 1.0)),
            reject=chance(0.6),
            stall=chance(0.02),
            step_fails=chance(0.02),
            sink_fails=chance(0.04),
            slow=chance(0.2),
            very_slow=chance(0.01),
            signal=chance(0.005),
            read_fails=chance(0.02),
            read_twice=random.choice((0.0, 0.3)),
            read_freezes=chance(0.005),
            position_late=random.choice((0.0, 0.0, 0.2)),
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
            bounded=random.choice((0.0, 0.0, 0.5)),
        )


FRICTION: dict[str, Any] = dict.fromkeys(
    ["reject", "position_late", "commit_delay", "produce_delay", "produce_partial"], 0.0
)
"""What holds things up and breaks nothing; without it everything is done at once."""
FAULTS: dict[str, Any] = dict.fromkeys(
    [
        "stall",
        "step_fails",
        "sink_fails",
        "slow",
        "very_slow",
        "signal",
        "read_fails",
        "read_twice",
        "read_freezes",
        "commit_lost",
        "crash",
        "freeze",
        "leave",
        "bounded",
    ],
    0.0,
)
"""What goes wrong."""
CALM: dict[str, Any] = {**FRICTION, **FAULTS, "gaps": 0.0, "late": 0.0}
"""What a run without faults changes."""


class Dice:
    """Draws faults, as long as there are to be any."""

    def __init__(self, random: Random, weather: Weather) -> None:
        self.random, self.weather = random, weather
        self.calm = False
        self.most_at_once = MOST_AT_ONCE
        self.flushes = True
        """Whether what is written has to be flushed; if not, it counts at once."""

    def calm_down(self, *, friction: bool) -> None:
        """From here on nothing goes wrong, and whoever begins now has time to end. ``friction``: not at once, though."""
        self.calm = True
        smooth = {} if friction else FRICTION
        self.weather = replace(self.weather, join_timeout=3.0, stop_timeout=60.0, **FAULTS, **smooth)

    def falls(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance

    def delay(self, most: float) -> float:
        return self.random.random() * most if most else 0.0


class FaultyStage(ProcessingStrategy[Any]):
    """Stands before a stage: rejects some messages, now and then all of them for seconds; fails on some, unseen."""

    def __init__(self, stage: ProcessingStrategy[Any], dice: Dice, clock: Clock, *, fails: bool) -> None:
        self._stage, self._dice, self._clock, self._fails = stage, dice, clock, fails
        self._stalled_until = 0.0

    def submit(self, message: Message[Any]) -> None:
        weather = self._dice.weather
        self._stall()
        if self._dice.falls(weather.reject):
            raise MessageRejected
        self._fail(weather.step_fails)
        self._stage.submit(message)

    def poll(self) -> None:
        self._stage.poll()
        self._fail(self._dice.weather.step_fails / 8)

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

    def _stall(self) -> None:
        if self._dice.falls(self._dice.weather.stall):
            self._stalled_until = self._clock() + self._dice.random.choice((0.3, 3.0, 1.2 * SESSION))
        if not self._dice.calm and self._clock() < self._stalled_until:
            self._clock.sleep(OFFER_SECONDS)
            raise MessageRejected

    def _fail(self, chance: float) -> None:
        if self._fails and self._dice.falls(chance):
            text = "a stage was made to fail"
            raise SimulatedFault(text)


class Risk:
    """What may happen whenever a user's function is called: it is slow, it fails, or it is the last for this process."""

    def __init__(self, dice: Dice, clock: Clock, signal: Callable[[], None]) -> None:
        self._dice, self._clock, self._signal = dice, clock, signal
        self.spent = 0.0
        """How many seconds functions took in all."""

    def of_sink(self) -> None:
        """A sink is called: it may be slow, and it may fail before it has the value."""
        self.pass_time(1.0)
        self.interrupt()
        self.fail(self._dice.weather.sink_fails, "a sink was made to fail")

    def of_function(self) -> None:
        """Any other function is called."""
        self.pass_time(0.25)
        self.interrupt()
        self.fail(self._dice.weather.step_fails / 2, "a function was made to fail")

    def of_retried(self) -> None:
        """One is called that is tried again: what fails costs nothing but time, so it fails often."""
        self.pass_time(0.25)
        self.interrupt()
        self.fail(5 * self._dice.weather.step_fails, "a function that is tried again was made to fail")

    def of_worker(self) -> None:
        """A function is called elsewhere; how long that takes is ``seconds``."""
        self.fail(self._dice.weather.step_fails, "a function was made to fail")

    def seconds(self) -> float:
        """How long a call elsewhere takes: most end at once, some take long, and pass each other."""
        weather, random = self._dice.weather, self._dice.random
        if self._dice.falls(weather.very_slow):
            return 1.2 * SESSION
        return random.choice((0.005, 0.02, 0.1, 0.7, 2.0)) if self._dice.falls(3 * weather.slow) else 0.0

    def pass_time(self, share: float) -> None:
        """Now and then more of it than the broker is patient."""
        weather, random = self._dice.weather, self._dice.random
        began = self._clock()
        if self._dice.falls(weather.slow * share):
            self._clock.sleep(random.choice((0.01, 0.1, 0.7)))
        if self._dice.falls(weather.very_slow * share):
            self._clock.sleep(1.2 * SESSION)
        self.spent += self._clock() - began

    def interrupt(self) -> None:
        """SIGTERM comes while the function runs."""
        if self._dice.falls(self._dice.weather.signal):
            self._signal()

    def fail(self, chance: float, text: str) -> None:
        if self._dice.falls(chance):
            raise SimulatedFault(text)
