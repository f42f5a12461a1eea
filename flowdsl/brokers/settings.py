"""Settings by librdkafka's own dotted names: which exist, which are refused and why, and how to read one.

Every broker takes all of them, so that a program moves from the embedded broker to Kafka and back as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

from flowdsl.brokers.protocols import Settings
from flowdsl.errors import shown

REFUSED: Mapping[str, str] = {
    "enable.auto.commit": "offsets are committed once their records are done, by the flow alone; see commit= of run",
    "auto.commit.enable": "offsets are committed once their records are done, by the flow alone; see commit= of run",
    "enable.auto.offset.store": "offsets move once their records are done, by the flow alone",
    "auto.offset.reset": "where a group begins is said with start=, what happens when records are gone with on_gap=",
    "enable.partition.eof": "the end of a partition is followed by the flow; see until= of run",
    "delivery.report.only.error": "a record is done once it is acknowledged, and nothing would tell so",
    "transactional.id": "records are written at least once, and the client would wait for a transaction that nobody begins",
    "group.id": "say group_id= where the source is made",
}
ALL = frozenset({"all", "-1"})
NO = frozenset({"false", "f", "0"})
_ACKS = ("acks", "request.required.acks")

_NAMES = """
acks allow.auto.create.topics api.version.fallback.ms api.version.request api.version.request.timeout.ms
auto.commit.interval.ms background_event_cb batch.num.messages batch.size bootstrap.servers broker.address.family
broker.address.ttl broker.version.fallback builtin.features check.crcs client.dns.lookup client.id client.rack
closesocket_cb compression.codec compression.level compression.type connect_cb connections.max.idle.ms
consume.callback.max.messages consume_cb coordinator.query.interval.ms debug default_topic_conf
delivery.report.only.error delivery.timeout.ms dr_cb dr_msg_cb enable.gapless.guarantee enable.idempotence
enable.metrics.push enable.random.seed enable.sasl.oauthbearer.unsecure.jwt enable.ssl.certificate.verification
enabled_events error_cb fetch.error.backoff.ms fetch.max.bytes fetch.message.max.bytes fetch.min.bytes
fetch.queue.backoff.ms fetch.wait.max.ms group.instance.id group.protocol group.protocol.type group.remote.assignor
heartbeat.interval.ms https.ca.location https.ca.pem interceptors internal.termination.signal isolation.level linger.ms
log.connection.close log.queue log.thread.name log_cb log_level logger max.in.flight
max.in.flight.requests.per.connection max.partition.fetch.bytes max.poll.interval.ms message.copy.max.bytes
message.max.bytes message.send.max.retries message.timeout.ms metadata.broker.list metadata.max.age.ms
metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy msg_order_cmp oauth_cb
oauthbearer_token_refresh_cb offset_commit_cb on_delivery opaque open_cb partition.assignment.strategy partitioner
partitioner_cb plugin.library.paths queue.buffering.backpressure.threshold queue.buffering.max.kbytes
queue.buffering.max.messages queue.buffering.max.ms queued.max.messages.kbytes queued.min.messages queuing.strategy
rebalance_cb receive.message.max.bytes reconnect.backoff.jitter.ms reconnect.backoff.max.ms reconnect.backoff.ms
request.required.acks request.timeout.ms resolve_cb retries retry.backoff.max.ms retry.backoff.ms
sasl.kerberos.keytab sasl.kerberos.kinit.cmd sasl.kerberos.min.time.before.relogin sasl.kerberos.principal
sasl.kerberos.service.name sasl.mechanism sasl.mechanisms sasl.oauthbearer.assertion.algorithm
sasl.oauthbearer.assertion.claim.aud sasl.oauthbearer.assertion.claim.exp.seconds
sasl.oauthbearer.assertion.claim.iss sasl.oauthbearer.assertion.claim.jti.include
sasl.oauthbearer.assertion.claim.nbf.seconds sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
sasl.oauthbearer.assertion.jwt.template.file sasl.oauthbearer.assertion.private.key.file
sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.private.key.pem
sasl.oauthbearer.client.credentials.client.id sasl.oauthbearer.client.credentials.client.secret
sasl.oauthbearer.client.id sasl.oauthbearer.client.secret sasl.oauthbearer.config sasl.oauthbearer.extensions
sasl.oauthbearer.grant.type sasl.oauthbearer.metadata.authentication.type sasl.oauthbearer.method
sasl.oauthbearer.scope sasl.oauthbearer.sub.claim.name sasl.oauthbearer.token.endpoint.url sasl.password sasl.username
security.protocol session.timeout.ms socket.blocking.max.ms socket.connection.setup.timeout.ms
socket.keepalive.enable socket.max.fails socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes
socket.timeout.ms socket_cb ssl.ca.certificate.stores ssl.ca.location ssl.ca.pem ssl.certificate.location
ssl.certificate.pem ssl.certificate.verify_cb ssl.cipher.suites ssl.crl.location ssl.curves.list
ssl.endpoint.identification.algorithm ssl.engine.id ssl.engine.location ssl.key.location ssl.key.password ssl.key.pem
ssl.keystore.location ssl.keystore.password ssl.providers ssl.sigalgs.list ssl_ca ssl_certificate
ssl_engine_callback_data ssl_key statistics.interval.ms stats_cb sticky.partitioning.linger.ms test.mock.broker.rtt
test.mock.num.brokers throttle_cb topic.blacklist topic.metadata.propagation.max.ms
topic.metadata.refresh.fast.cnt topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.interval.ms
topic.metadata.refresh.sparse transaction.timeout.ms transactional.id
"""
NAMES = frozenset(_NAMES.split())

EAGER = frozenset({"range", "roundrobin"})
_STRATEGY = "partition.assignment.strategy"


def checked_settings(settings: object) -> dict[str, Any]:
    """The settings as a dict. Raises TypeError or ValueError, naming the setting; values are shown only where harmless."""
    given = topic_settings(settings)
    for name, value in given.items():
        _check(name, value)
    return given


def topic_settings(settings: object) -> dict[str, Any]:
    """The settings of a topic as a dict; which there are, only the broker knows. Raises TypeError for what is no mapping."""
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        what = shown(settings) if isinstance(settings, int | float) else f"a {type(settings).__name__}"  # no secrets
        msg = f"settings must be a mapping of names to values, not {what}"
        raise TypeError(msg)
    given: dict[Any, Any] = dict(settings)  # pyright: ignore[reportUnknownArgumentType]  # checked name by name
    for name in given:
        if not isinstance(name, str):
            msg = f"names of settings must be texts, not {shown(name)}"
            raise TypeError(msg)
    return given


def _check(name: str, value: object) -> None:
    if name in REFUSED:
        msg = f"setting {name!r} is refused, since it would break delivery: {REFUSED[name]}"
        raise ValueError(msg)
    if name in _ACKS and str(value) not in ALL:
        msg = f"setting {name!r} must be 'all', since with {value!r} acknowledged records can be lost"
        raise ValueError(msg)
    if name == "allow.auto.create.topics" and str(value).lower() not in NO:
        msg = f"setting {name!r} must be false, since a misspelt topic would be made where it should be told"
        raise ValueError(msg)
    if name not in NAMES:
        close = get_close_matches(name, NAMES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ", by librdkafka's list of configuration properties"
        msg = f"there is no setting {name!r}{hint}"
        raise ValueError(msg)


def number(settings: Mapping[str, Any], name: str, default: int) -> int:
    """A setting that is a whole number above 0, given as one or as a text."""
    value = settings.get(name, default)
    try:
        parsed = int(value)
    except (TypeError, ValueError):
        parsed = 0
    if parsed < 1:
        msg = f"setting {name!r} must be a whole number above 0, but is {shown(value)}"
        raise ValueError(msg)
    return parsed


def protocol_of(settings: Settings) -> Literal["eager", "cooperative"]:
    """How the group rebalances: cooperative, unless the strategy asks for an eager one."""
    strategy = settings.get(_STRATEGY, "cooperative-sticky")
    names = {name.strip() for name in str(strategy).split(",")}
    if names == {"cooperative-sticky"}:
        return "cooperative"
    if names <= EAGER:
        return "eager"
    msg = f'setting {_STRATEGY!r} must be "cooperative-sticky", or "range", "roundrobin" or both, but is {shown(strategy)}'
    raise ValueError(msg)
