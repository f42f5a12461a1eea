"""One process of the simulated world: a loop over a consumer, and the sinks of its flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowdsl.brokers.protocols import Client, Outgoing, Settings
from flowdsl.compiler import new_run, prepare
from flowdsl.errors import BrokerError, RunTimeout, StepFailed, StopTimeout
from flowdsl.interface.strategy import ProcessingStrategy
from flowdsl.processing.loop import Loop
from flowdsl.reactive.workers import Job, Tools, WorkerPlan, Workers
from flowdsl.stages.ending import SinkCall
from flowdsl.stages.failures import Retrying
from flowdsl.stages.kernel import Fusable
from flowdsl.stages.segment import Segment
from flowdsl.stages.switch import Switch
from flowdsl.stages.writing import WriteKernel
from flowdsl.testing.simulation.consumer import SimulatedConsumer
from flowdsl.testing.simulation.errand import Errand
from flowdsl.testing.simulation.faults import Dice, FaultyStage, Risk, SimulatedFault
from flowdsl.testing.simulation.producer import Epochs, SimulatedProducer
from flowdsl.testing.simulation.risky import risky
from flowdsl.testing.simulation.scene import Scene
from flowdsl.testing.virtual import VirtualClock
from flowdsl.testing.workers import AllStuckError, Chance, open_virtually
from flowdsl.types import CommitPolicy

Got = Callable[[str, Any, "Member", Epochs], None]


class RecordingSink:
    """Stands in for a sink that is an object: what is written is safe once it is flushed, perhaps much later."""

    def __init__(self, name: str, member: Member, risk: Callable[[], None], *, flushes: bool) -> None:
        self._name, self._member, self._risk = name, member, risk
        self._written: list[tuple[Any, Epochs]] = []
        if flushes:
            self.flush = self._flush

    def write(self, values: Sequence[Any]) -> None:
        self._risk()
        epochs = self._member.epochs()
        self._written += [(value, epochs) for value in values]
        if not hasattr(self, "flush"):
            self._flush()

    def _flush(self) -> None:
        written, self._written = self._written, []  # gone, if this fails
        self._member.risk.of_sink()
        for value, epochs in written:
            self._member.got(self._name, value, epochs)


class Member:
    """Runs turn by turn. ``wake``: when it wants its next turn."""

    def __init__(
        self,
        number: int,
        scene: Scene,
        errand: Errand,
        consumer: SimulatedConsumer,
        dice: Dice,
        clock: VirtualClock,
        got: Got,
        tell: Callable[[Member, str], None],
        ending: Callable[[Member], Callable[[], None]],
    ) -> None:
        self.number, self.consumer, self._dice, self.clock, self._got = number, consumer, dice, clock, got
        self._scene, self.errand, self._tell, self._ending = scene, errand, tell, ending
        self.risk = Risk(dice, clock, self._signalled)
        self.has_time = dice.calm
        """Whether it began when nothing went wrong any more, with time enough for all that it may be asked."""
        self.is_alive = True
        self.error: BaseException | None = None
        self._producers: list[SimulatedProducer] = []
        self._run = run = new_run(
            clock,
            self._finish,
            producer=self._producer,
            sink_function=self._sink,
            instrument=self._faulty,
            flush_every=0.2,
            random=dice.random,
            open_workers=self._workers,
        )
        self._switch: Switch = run.switch
        self.counts = run.counts
        weather = dice.weather
        self.join_timeout, self.stop_timeout = weather.join_timeout, weather.stop_timeout
        self.loop = Loop(
            consumer,
            scene.topics,
            prepare(scene.plan, run),
            clock=clock,
            switch=run.switch,
            policy=CommitPolicy(weather.commit_seconds, weather.commit_messages),
            bounds=errand.bounds(clock),
            timeout=errand.timeout,
            join_timeout=self.join_timeout,
            stop_timeout=self.stop_timeout,
        )
        self.is_finished = False

    @property
    def wake(self) -> float:
        return self.consumer.wake

    @property
    def has_plans(self) -> bool:
        """Whether its pipeline will do something by itself: work that is under way, groups whose time will be up."""
        pipeline = self.loop.pipelines.current
        return pipeline is not None and pipeline.next_deadline() is not None

    @property
    def has_work(self) -> bool:
        """Whether it has records that are not done, or will do something by itself."""
        pipeline = self.loop.pipelines.current
        holds = pipeline is not None and pipeline.held_by() is not None
        return holds or self.has_plans or not self.loop.feeder.is_empty

    @property
    def given_up(self) -> int:
        """How often its flow went on without what had failed."""
        return sum(count.failed for count in self.counts.values())

    @property
    def is_hurried(self) -> bool:
        """Whether something went wrong, or somebody asked it to stop, so that it does not end by itself."""
        return self.error is not None or self._switch.stopping

    def begin(self) -> None:
        self.loop.begin()

    def turn(self) -> None:
        """One turn of the loop, or its end."""
        try:
            self.loop.turn()
            if self.loop.is_over:
                self._end(None)
        except Exception as error:  # noqa: BLE001  # judged by kind in _end
            self._end(error)

    def stop(self) -> None:
        """SIGTERM."""
        self._switch.stop()
        self._end(None)

    def vanish(self) -> None:
        """SIGKILL."""
        self.is_alive = False
        self.consumer.vanish()
        self._run.abandon()

    def got(self, name: str, value: Any, epochs: Epochs) -> None:
        self._got(name, value, self, epochs)

    def epochs(self) -> Epochs:
        return dict(self.consumer.epochs)

    def _signalled(self) -> None:
        self._tell(self, "is asked to stop, in the middle of things")
        self._switch.stop()

    def _end(self, error: Exception | None) -> None:
        self.is_alive, self.error = False, error
        ended = self._ending(self)
        try:
            self.loop.end(error)
        except Exception as raised:  # noqa: BLE001  # judged below
            self.error = raised
        ended()

    @property
    def unexpected(self) -> BaseException | None:
        """What it died of, if nobody made it."""
        error = self.error
        if error is None or isinstance(error, SimulatedFault | BrokerError | RunTimeout | StopTimeout | AllStuckError):
            return None
        if isinstance(error, StepFailed) and isinstance(error.__cause__, SimulatedFault | BrokerError | TimeoutError):
            return None
        return error

    # -- hooks of the run -----------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self.is_finished = True
        self.loop.finish()

    def _faulty(self, stage: ProcessingStrategy[Any], names: tuple[str, ...]) -> ProcessingStrategy[Any]:
        if isinstance(stage, Segment):
            stage.kernels = tuple(self._risky(kernel) for kernel in stage.kernels)
        return FaultyStage(stage, self._dice, self.clock, fails=bool(names))

    def _risky(self, kernel: Fusable) -> Fusable:
        """Sinks have their own risk; a record that is skipped or a dead letter by chance would look lost."""
        if not kernel.handler.ends_run or isinstance(kernel, SinkCall | WriteKernel):
            return kernel
        return risky(kernel, self.risk.of_retried if isinstance(kernel.handler, Retrying) else self.risk.of_function)

    def _workers(self, plan: WorkerPlan, job: Job, concurrency: int, tools: Tools) -> Workers:
        """Workers in virtual time: calls are slow and fail by chance, those of sinks at their own risk."""
        fails = job.step in self._scene.may_fail_slowly
        chance = Chance(self._dice.random, self.risk.seconds, self.risk.of_worker if fails else _no_risk)
        return open_virtually(plan, job, concurrency, tools, chance)

    def _sink(self, name: str, target: Any) -> Any:
        risk = self.risk.of_sink if name in self._scene.may_fail else _no_risk
        if hasattr(target, "write"):
            return RecordingSink(name, self, risk, flushes=self._dice.flushes and hasattr(target, "flush"))

        def record(value: Any) -> None:
            risk()
            self.got(name, value, self.consumer.epochs)

        return record

    def _producer(self, client: Client, settings: Settings) -> SimulatedProducer:  # noqa: ARG002  # one broker stands for all
        def arrived(outgoing: Outgoing, epochs: Epochs) -> None:
            self.got(outgoing.topic, outgoing, epochs)

        producer = SimulatedProducer(self._dice, self.clock, arrived, self.epochs, fails=self._scene.refuses)
        self._producers.append(producer)
        return producer


def _no_risk() -> None:
    pass
