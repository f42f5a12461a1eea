"""Kafka's errors, sorted: which of ours each is, and which are no more than the weather."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

from flowdsl.brokers.protocols import Rebalancing
from flowdsl.errors import BrokerError, BrokerUnreachable, Fenced, NotAuthorized, OffsetOutOfRange, TopicNotFound

_AWAY = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001  # librdkafka's local errors are public, and named so
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError._DESTROY_BROKER,  # noqa: SLF001  # the cluster goes on without it, for now at least
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
    }
)
_UNREADY = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,  # asked by what was known before the broker came back
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.KAFKA_STORAGE_ERROR,
    }
)
_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._SSL,  # noqa: SLF001
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_UNKNOWN = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    }
)
_REBALANCING = frozenset(
    {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.STALE_MEMBER_EPOCH}
)
_EXPELLED = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001
    }
)
_FENCED = frozenset({KafkaError.FENCED_INSTANCE_ID, KafkaError.UNRELEASED_INSTANCE_ID, KafkaError._FENCED})  # noqa: SLF001
_GAP = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001
        KafkaError._LOG_TRUNCATION,  # noqa: SLF001
        KafkaError.OFFSET_OUT_OF_RANGE,
    }
)

ADVICE = (
    "Is the broker running, and is the address right? A broker that asks for TLS or SASL needs security.protocol in the "
    "settings; one in a container must advertise an address that can be reached from here (advertised.listeners)."
)
IDENTITIES = (
    "Each running member needs one of its own; one that was killed may count as running until its session ends."
)
RIGHTS = "Ask for the right to do it, or look at security.protocol and the sasl.* and ssl.* settings."


def error_of(failure: BaseException) -> KafkaError:
    """What is inside a KafkaException."""
    inner = failure.args[0] if isinstance(failure, KafkaException) and failure.args else None
    return inner if isinstance(inner, KafkaError) else KafkaError(KafkaError._FAIL, str(failure))  # noqa: SLF001


def is_away(error: KafkaError) -> bool:
    """The broker cannot be reached now, or is not ready: waiting helps."""
    return is_unready(error) or (error.code() in _AWAY and not error.fatal())


def is_unready(error: KafkaError) -> bool:
    """It says itself that it is finding its feet."""
    return error.code() in _UNREADY and not error.fatal()


def is_gap(error: KafkaError) -> bool:
    """Records are gone before they were read."""
    return error.code() in _GAP


def is_unknown(error: KafkaError) -> bool:
    """A topic or partition is not there."""
    return error.code() in _UNKNOWN


def is_outdated(error: KafkaError) -> bool:
    """The client knows too little of a partition that is there: what it heard last came from a broker that had just begun."""
    return error.code() == KafkaError._UNKNOWN_PARTITION  # noqa: SLF001  # as above


def is_rebalancing(error: KafkaError) -> bool:
    """The group deals partitions anew, or just did: what was said in its older generation is said again."""
    return error.code() in _REBALANCING and not error.fatal()


def is_expelled(error: KafkaError) -> bool:
    """The group does not know this member (any more); it joins again by itself."""
    return error.code() in _EXPELLED and not error.fatal()


def is_refused(error: KafkaError) -> bool:
    """Rights or credentials are missing."""
    return error.code() in _REFUSED


def sorted_error(error: KafkaError, doing: str, broker: str) -> BrokerError:
    """The error for people. ``doing``: what was to be done, as in "reading orders"."""
    text = error.str()
    for applies, kind, sentence in _KINDS:
        if applies(error):
            return kind(f"{doing}: {sentence.format(broker=broker, text=text)}")
    return BrokerError(f"{doing}: {broker} answered: {text} ({error.name()})")


def _is_fenced(error: KafkaError) -> bool:
    """A fatal error may keep its own code to itself, and tell it in words alone."""
    is_fatal = error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001  # as above
    return error.code() in _FENCED or (
        is_fatal and ("instance" in error.str() or error.code() in _EXPELLED | _REBALANCING)
    )


def _is_mixed(error: KafkaError) -> bool:
    return error.code() in {KafkaError.INCONSISTENT_GROUP_PROTOCOL, KafkaError.UNSUPPORTED_ASSIGNOR}


_KINDS: tuple[tuple[Callable[[KafkaError], bool], type[BrokerError], str], ...] = (
    (is_refused, NotAuthorized, "{broker} refuses it: {text}. " + RIGHTS),
    (
        _is_fenced,
        Fenced,
        "another member of the group has the same group.instance.id: {text}. " + IDENTITIES,
    ),
    (is_rebalancing, Rebalancing, "the group deals its partitions anew: {text}. It is tried again"),
    (
        is_expelled,
        Fenced,
        "the group went on without this member: {text}. What was not committed is read again",
    ),
    (
        _is_mixed,
        BrokerError,
        "its members assign partitions in another way: {text}. Give all the same group.protocol and partition.assignment.strategy",
    ),
    (is_unknown, TopicNotFound, "{broker} does not have it: {text}"),
    (is_gap, OffsetOutOfRange, "{text}"),
    (is_unready, BrokerUnreachable, "{broker} is not ready yet: {text}"),
    (is_away, BrokerUnreachable, "{broker} does not answer: {text}. " + ADVICE),
)
