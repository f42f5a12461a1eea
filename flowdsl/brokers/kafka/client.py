"""A Kafka as a ``Client``. Nothing connects before something is asked."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, wait
from functools import partial
from threading import Lock
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from flowdsl.brokers.kafka.asking import ATTEMPT, PATIENCE, Asker
from flowdsl.brokers.kafka.bootstrap import Bootstrap
from flowdsl.brokers.kafka.closing import leave
from flowdsl.brokers.kafka.commits import Commits
from flowdsl.brokers.kafka.configuration import (
    admin_configuration,
    check_values,
    checked_servers,
    consumer_configuration,
    group_protocol,
    made,
    producer_configuration,
    reader_configuration,
    refuse_servers,
)
from flowdsl.brokers.kafka.consumer import KafkaConsumer
from flowdsl.brokers.kafka.errors import error_of, sorted_error
from flowdsl.brokers.kafka.producer import KafkaProducer
from flowdsl.brokers.kafka.topics import Describer, Identities, partitions_in
from flowdsl.brokers.kafka.watching import Watch
from flowdsl.brokers.kafka.weather import Reach, Weather
from flowdsl.brokers.naming import topic_not_found
from flowdsl.brokers.protocols import OnGap, Settings, Start
from flowdsl.brokers.settings import checked_settings, number
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.errors import BrokerError
from flowdsl.types import Partition

POLL_INTERVAL_MS = 300_000
REFRESH_MS = 60_000
CLOSE_SECONDS = 1.0
_PAUSE = 0.05


class KafkaClient:
    """``settings`` hold for every consumer and producer; each may have more of its own."""

    def __init__(self, servers: str, settings: Settings | None = None) -> None:
        self._servers = checked_servers(servers)
        self._settings = checked_settings(settings)
        refuse_servers(self._settings)
        self.name = f"Kafka at {self._servers}"
        self._reach = Reach(self.name)
        self._lock = Lock()  # two threads may ask the first question at once; nothing else is done under it
        self._asker: Asker | None = None
        self._admin: Any = None  # its methods are typed for futures of anything
        self._closed = False
        check_values(self._settings)

    # -- consumers and producers ----------------------------------------------------------------------------------

    def consumer(
        self,
        *,
        group_id: str | None,
        start: Start = "earliest",
        on_gap: OnGap = "fail",
        settings: Settings | None = None,
        values_only: bool = False,
    ) -> KafkaConsumer:
        given = self._with(settings)
        in_group, protocol = group_id is not None, group_protocol(given)
        is_static = "group.instance.id" in given  # may come again, and stays in its group until its session ends
        must_leave = in_group and protocol == "cooperative" and not is_static
        bootstrap = Bootstrap(self._servers, given)
        weather = Weather(self._reach, given.get("error_cb"), in_group=in_group, bootstrap=bootstrap)
        commits = Commits(self.name, weather)
        configuration = consumer_configuration(self._servers, weather.guarded(given), group_id)
        handle = made(Consumer, {**configuration, "error_cb": weather, "on_commit": commits.on_commit})
        commits.handle = handle
        refresh = number(given, "topic.metadata.refresh.interval.ms", REFRESH_MS) / 1000
        return KafkaConsumer(
            handle,
            end=partial(leave, weather=weather) if must_leave else Consumer.close,
            name=self.name,
            weather=weather,
            commits=commits,
            watch=Watch(Identities(self._describer(), self.name), weather, refresh),
            in_group=in_group,
            whole=in_group and protocol == "eager",
            start=start,
            on_gap=on_gap,
            poll_interval=number(given, "max.poll.interval.ms", POLL_INTERVAL_MS) / 1000,
            values_only=values_only,
        )

    def producer(self, *, settings: Settings | None = None) -> KafkaProducer:
        given = self._with(settings)
        bootstrap = Bootstrap(self._servers, given)
        weather = Weather(self._reach, given.get("error_cb"), bootstrap=bootstrap)
        configuration = producer_configuration(self._servers, weather.guarded(given))
        handle = made(Producer, {**configuration, "error_cb": weather})
        return KafkaProducer(
            handle, name=self.name, weather=weather, partitions_of=self._partitions_of, topics=self.topics
        )

    # -- topics ---------------------------------------------------------------------------------------------------

    def create_topic(
        self, name: str, *, partitions: int, replication: int, settings: Mapping[str, Any], exist_ok: bool
    ) -> None:
        texts = {key: _text(value) for key, value in settings.items()}
        wanted = NewTopic(name, partitions, replication, config=texts)
        try:
            self._made(
                self._administrator().create_topics([wanted], operation_timeout=PATIENCE)[name],
                f"making topic {name!r}",
            )
        except _Exists:
            if not exist_ok:
                msg = f"topic {name!r} exists on {self.name} already; pass exist_ok=True to take it as it is"
                raise BrokerError(msg) from None
        deadline = Deadline.after(SYSTEM_CLOCK, PATIENCE)
        while name not in self.topics() and not deadline.expired:  # other brokers hear of it a little later
            deadline.pause(_PAUSE)

    def delete_topic(self, name: str) -> None:
        self._partitions_of(name)
        self._made(
            self._administrator().delete_topics([name], operation_timeout=PATIENCE)[name], f"deleting topic {name!r}"
        )
        deadline = Deadline.after(SYSTEM_CLOCK, PATIENCE)
        while name in self.topics() and not deadline.expired:
            deadline.pause(_PAUSE)

    def topics(self) -> dict[str, int]:
        return self._asked().topics()

    def _partitions_of(self, topic: str) -> int:
        """Raises TopicNotFound, NotAuthorized, BrokerUnreachable."""
        asker = self._asked()
        found = asker.partitions_of(topic)
        if found is None:
            raise topic_not_found(topic, asker.topics(), self.name)
        return found

    def _made(self, future: Future[Any], doing: str) -> None:
        try:
            if not wait([future], ATTEMPT).done:
                Bootstrap(self._servers, self._settings).not_answered(self._administrator())
            future.result(PATIENCE - ATTEMPT)
        except KafkaException as failure:
            error = error_of(failure)
        except TimeoutError:
            error = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  # librdkafka's own errors are named so
        else:
            return
        if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            raise _Exists
        raise sorted_error(error, doing, self.name)

    # -- groups ---------------------------------------------------------------------------------------------------

    def committed(self, group_id: str) -> dict[Partition, int]:
        partitions = partitions_in(self.topics())
        asker = self._asker_for(group_id)
        try:
            return asker.committed(partitions)
        finally:
            asker.close(CLOSE_SECONDS)

    def lag(self, group_id: str) -> dict[Partition, int]:
        committed = self.committed(group_id)
        asker = self._asked()
        beginnings, ends = asker.beginnings(committed), asker.ends(committed)
        return {p: max(0, ends[p] - max(offset, beginnings[p])) for p, offset in committed.items()}

    def close(self) -> None:
        with self._lock:
            self._closed = True
            asker, self._asker, self._admin = self._asker, None, None
        if asker is not None:
            asker.close(CLOSE_SECONDS)

    # -- what is asked --------------------------------------------------------------------------------------------

    def _with(self, settings: Settings | None) -> dict[str, Any]:
        self._check_open()
        own = checked_settings(settings)
        refuse_servers(own)
        return {**self._settings, **own}

    def _asked(self) -> Asker:
        with self._lock:
            self._check_open()
            if self._asker is None:
                self._asker = self._asker_for(None)
            return self._asker

    def _asker_for(self, group_id: str | None) -> Asker:
        bootstrap = Bootstrap(self._servers, self._settings)
        in_group = group_id is not None
        weather = Weather(None, self._settings.get("error_cb"), in_group=in_group, bootstrap=bootstrap)
        configuration = reader_configuration(self._servers, self._settings, group_id)
        handle = made(Consumer, {**configuration, "error_cb": weather})
        return Asker(handle, self.name, weather, serve=lambda: handle.poll(0), is_called=lambda: False)

    def _administrator(self) -> Any:
        with self._lock:
            self._check_open()
            if self._admin is None:
                self._admin = made(AdminClient, admin_configuration(self._servers, self._settings))
            return self._admin

    def _describer(self) -> Describer:
        """Keeps the handle that it asks, whether this client is closed or not."""
        return Describer(self._administrator(), Bootstrap(self._servers, self._settings))

    def _check_open(self) -> None:
        if self._closed:
            msg = f"{self.name} was closed; make a new one"
            raise BrokerError(msg)


class _Exists(Exception):  # noqa: N818  # named for what happened, and never seen outside
    """A topic is there already."""


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
