"""``StreamProcessor``: the loop for strategies and factories that people write by hand."""

from __future__ import annotations

from typing import Any

from flowdsl.brokers.protocols import Consumer
from flowdsl.clock import SYSTEM_CLOCK, Clock, Duration, optional_seconds
from flowdsl.interface.strategy import ProcessingStrategyFactory
from flowdsl.processing.dlq import DlqPolicy, must_be, refuse_others
from flowdsl.processing.invalid import InvalidRecords
from flowdsl.processing.loop import Loop
from flowdsl.stages.switch import Switch
from flowdsl.types import ONCE_PER_SECOND, CommitPolicy, Topic

JOIN_SECONDS = 25.0


class StreamProcessor:
    """Reads a topic and drives the pipelines that a factory makes, one for each assignment.

    ``join_timeout``: seconds that a pipeline has to finish at a rebalance and at the end; what is unfinished then is
    read again. Without ``dlq_policy`` an invalid record is logged and skipped.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: Topic,
        processor_factory: ProcessingStrategyFactory[Any],
        commit_policy: CommitPolicy = ONCE_PER_SECOND,
        dlq_policy: DlqPolicy | None = None,
        join_timeout: Duration | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        is_consumer = callable(getattr(consumer, "subscribe", None))
        refuse_others("consumer", consumer, "what broker.consumer(group_id=...) returns", is_consumer)
        must_be("topic", topic, Topic, 'a Topic, such as Topic("orders")')
        must_be("processor_factory", processor_factory, ProcessingStrategyFactory, "a ProcessingStrategyFactory")
        must_be("commit_policy", commit_policy, CommitPolicy, "a CommitPolicy")
        must_be("dlq_policy", dlq_policy, DlqPolicy | None, "a DlqPolicy, or None")
        self._switch = Switch(clock)
        given = optional_seconds(join_timeout, "join_timeout")
        seconds = JOIN_SECONDS if given is None else given
        self._loop = Loop(
            consumer,
            (topic.name,),
            processor_factory,
            clock=clock,
            switch=self._switch,
            policy=commit_policy,
            join_timeout=seconds,
            stop_timeout=seconds,
            invalid=None if dlq_policy is None else InvalidRecords(dlq_policy, clock),
        )

    def run(self) -> None:
        """Run until ``signal_shutdown``; then finish, commit and leave. Installs no signal handlers.

        Raises what a strategy raised, DlqLimitExceeded, CommitFailed, and other BrokerErrors.
        """
        self._loop.run()

    def signal_shutdown(self) -> None:
        """End ``run`` after the message in hand. From any thread, and from a signal handler."""
        self._switch.stop()
