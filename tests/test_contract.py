"""What users rely on: where names live, which arguments are positional, and the defaults. More may be added, by keyword."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import flowdsl
from flowdsl import INHERIT, ClosedFlow, Flow, LocalBroker, Record, RunHandle, every
from flowdsl.processing import CommitPolicy, DlqLimit, DlqPolicy, InvalidMessage
from flowdsl.testing import Driver, simulate

NEEDED = inspect.Parameter.empty
STEP = {"name": None, "on_error": None}

OPERATORS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "from_iterable": (["values"], {"name": None}),
    "map_": (["f"], STEP),
    "flat_map": (["f"], STEP),
    "filter_": (["p"], STEP),
    "tap": (["f"], STEP),
    "with_record": ([], STEP),
    "scan": (["f", "initial"], {"per": "partition", **STEP}),
    "distinct_until_changed": (["key"], {"per": "partition", **STEP}),
    "take": (["n"], STEP),
    "decode": (["codec"], STEP),
    "encode": (["codec"], STEP),
    "batch": (["size"], {"within": None, **STEP}),
    "unbatch": ([], STEP),
    "fold": (["f", "initial"], {"size": NEEDED, "within": None, **STEP}),
    "route": (["key", "branches"], {"default": None, **STEP}),
    "broadcast": (["*branches"], STEP),
    "merge": (["*flows"], {"name": None}),
    "through": (["factory"], STEP),
    "sink": (["target"], STEP),
    "to_list": ([], STEP),
    "connect": (["url"], {}),
    "last": (["n"], {}),
    "every": ([], {"seconds": None, "messages": None}),
    "dead_letter": (["sink"], {}),
}

RUN = {
    "count": None,
    "timeout": None,
    "until": None,
    "commit": every(seconds=1.0),
    "on_error": "stop",
    "stop_timeout": 20.0,
    "progress": False,
}
PARTS = {"key": None, "headers": None, "timestamp": None, "partition": None, "encode": None}
INHERITED = {"key": INHERIT, "headers": INHERIT, "timestamp": INHERIT, "partition": None, "encode": None}

METHODS: list[tuple[Callable[..., Any], list[str], dict[str, Any]]] = [
    (
        LocalBroker.source,
        ["topics"],
        {
            "group_id": None,
            "decode": None,
            "start": "earliest",
            "tombstones": "fail",
            "on_gap": "fail",
            "settings": {},
            "name": None,
        },
    ),
    (LocalBroker.sink, ["topic"], {**INHERITED, "settings": {}, "name": None}),
    (LocalBroker.write, ["topic", "values"], PARTS),
    (LocalBroker.read, ["topic"], {"count": None, "start": "earliest", "decode": None}),
    (LocalBroker.create_topic, ["name"], {"partitions": 1, "replication": 1, "settings": {}, "exist_ok": True}),
    (LocalBroker.delete_topic, ["name"], {}),
    (LocalBroker.topics, [], {}),
    (LocalBroker.committed, ["group_id"], {}),
    (LocalBroker.lag, ["group_id"], {}),
    (LocalBroker.consumer, [], {"group_id": NEEDED, "start": "earliest", "settings": {}}),
    (LocalBroker.producer, [], {"settings": {}}),
    (LocalBroker.close, [], {}),
    (LocalBroker.__init__, [], {"partitions": 1}),
    (ClosedFlow.run, [], RUN),
    (ClosedFlow.start, [], RUN),
    (ClosedFlow.compile, [], {}),
    (Flow.preview, ["n"], {}),
    (Flow.explain, [], {}),
    (Flow.check, [], {}),
    (RunHandle.stop, ["timeout"], {}),
    (RunHandle.result, ["timeout"], {}),
    (RunHandle.join, ["timeout"], {}),
    (RunHandle.wait_ready, ["timeout"], {}),
    (Driver.send, ["value"], {"key": None, "partition": 0, "headers": (), "at": None}),
    (simulate, ["flow", "records"], {"seeds": 500, "members": 3, "trace": None}),
    (CommitPolicy, ["min_commit_frequency_sec", "min_commit_messages"], {}),
    (DlqLimit, ["max_invalid_ratio", "max_consecutive_count"], {}),
    (DlqPolicy, ["producer", "limit", "max_buffered_messages_per_partition"], {}),
    (InvalidMessage.__init__, ["partition", "offset", "needs_commit", "reason"], {}),
]

DEFAULTS: list[tuple[Callable[..., Any], str, Any]] = [
    (flowdsl.distinct_until_changed, "key", None),
    (flowdsl.connect, "url", None),
    (Flow.preview, "n", 10),
    (RunHandle.stop, "timeout", None),
    (RunHandle.result, "timeout", None),
    (RunHandle.join, "timeout", None),
    (RunHandle.wait_ready, "timeout", None),
    (InvalidMessage.__init__, "needs_commit", True),
    (InvalidMessage.__init__, "reason", None),
    (DlqPolicy, "limit", None),
    (DlqPolicy, "max_buffered_messages_per_partition", None),
    (DlqLimit, "max_invalid_ratio", None),
    (DlqLimit, "max_consecutive_count", None),
]

PUBLIC = {
    "flowdsl": """
        LocalBroker connect batch broadcast decode distinct_until_changed encode filter_ flat_map fold from_iterable map_
        merge route scan sink take tap through to_list unbatch with_record Flow ClosedFlow Fragment RunHandle Stats Record
        Topic Partition INHERIT JSON TEXT RAW last every immediately never dead_letter FlowError FlowDefinitionError
        StepFailed BrokerError BrokerUnreachable TopicNotFound NotAuthorized DeliveryFailed OffsetOutOfRange Fenced
        CommitFailed StopTimeout RunTimeout DlqLimitExceeded
    """,
    "flowdsl.strategies": """
        ProcessingStrategy ProcessingStrategyFactory Message Value BrokerValue BaseValue FilteredPayload FILTERED_PAYLOAD
        KafkaPayload Commit MessageRejected RunTask FilterStep BatchStep UnbatchStep Reduce Unfold Produce CommitOffsets
        Noop Healthcheck
    """,
    "flowdsl.processing": """
        StreamProcessor CommitPolicy IMMEDIATE ONCE_PER_SECOND InvalidMessage DlqPolicy DlqLimit KafkaDlqProducer
    """,
    "flowdsl.testing": "Driver simulate",
}


def signature_of(function: Callable[..., Any]) -> tuple[list[str], dict[str, Any]]:
    """The names that may be positional, ``self`` apart, and the defaults of those that are by keyword alone."""
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    kinds = inspect.Parameter
    stars = {kinds.VAR_POSITIONAL: "*", kinds.POSITIONAL_OR_KEYWORD: "", kinds.POSITIONAL_ONLY: ""}
    positional = [f"{stars[each.kind]}{each.name}" for each in parameters if each.kind in stars]
    return positional, {each.name: each.default for each in parameters if each.kind is kinds.KEYWORD_ONLY}


def agrees(function: Callable[..., Any], positional: list[str], keywords: dict[str, Any]) -> None:
    found, by_keyword = signature_of(function)
    assert found == positional
    assert {name: by_keyword.get(name, "missing") for name in keywords} == keywords
    added = by_keyword.keys() - keywords.keys()
    assert all(by_keyword[name] is not NEEDED for name in added)


@pytest.mark.parametrize("name", OPERATORS)
def test_function_takes_what_users_give(name: str) -> None:
    agrees(getattr(flowdsl, name), *OPERATORS[name])


@pytest.mark.parametrize(
    ("method", "positional", "keywords"), METHODS, ids=lambda each: getattr(each, "__qualname__", "")
)
def test_method_takes_what_users_give(
    method: Callable[..., Any], positional: list[str], keywords: dict[str, Any]
) -> None:
    agrees(method, positional, keywords)


@pytest.mark.parametrize(("function", "name", "default"), DEFAULTS)
def test_positional_argument_has_its_default(function: Callable[..., Any], name: str, default: Any) -> None:
    assert inspect.signature(function).parameters[name].default == default


@pytest.mark.parametrize("module", PUBLIC)
def test_names_live_where_users_import_them(module: str) -> None:
    names = PUBLIC[module].split()
    imported = importlib.import_module(module)
    assert [name for name in names if not hasattr(imported, name)] == []
    assert sorted(set(names) - set(imported.__all__)) == []


def test_a_record_has_its_parts_in_order() -> None:
    parts = ["topic", "partition", "offset", "key", "value", "headers", "timestamp"]
    assert list(inspect.signature(Record).parameters) == parts
