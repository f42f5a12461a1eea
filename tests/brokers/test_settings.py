from __future__ import annotations

from typing import Any

import pytest

from flowdsl.brokers.settings import checked_settings, number, protocol_of


def test_settings_of_librdkafka_are_taken_as_they_are() -> None:
    given = {"security.protocol": "SSL", "oauth_cb": print, "acks": "all", "fetch.min.bytes": 1}
    assert checked_settings(given) == given
    assert checked_settings(None) == {}


@pytest.mark.parametrize(
    "name",
    [
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "enable.partition.eof",
        "delivery.report.only.error",
        "group.id",
    ],
)
def test_settings_that_break_delivery_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*refused"):
        checked_settings({name: "x"})


@pytest.mark.parametrize("value", [0, 1, "1", "0"])
def test_only_full_acknowledgement_is_accepted(value: Any) -> None:
    with pytest.raises(ValueError, match=r"acks.*all"):
        checked_settings({"acks": value})


@pytest.mark.parametrize("value", [True, 1, "true", "T"])
def test_making_topics_by_mistake_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"allow\.auto\.create\.topics.*misspelt"):
        checked_settings({"allow.auto.create.topics": value})


@pytest.mark.parametrize("value", [False, 0, "False"])
def test_what_holds_anyway_may_be_said(value: Any) -> None:
    assert checked_settings({"allow.auto.create.topics": value}) == {"allow.auto.create.topics": value}


def test_misspelt_setting_names_the_right_one() -> None:
    with pytest.raises(ValueError, match=r"'fetch.min.byte'.*'fetch.min.bytes'"):
        checked_settings({"fetch.min.byte": 1})


def test_settings_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(TypeError, match=r"settings"):
        checked_settings([("a", "b")])


@pytest.mark.parametrize("value", ["many", 0, -5, None])
def test_number_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"max\.poll\.interval\.ms"):
        number({"max.poll.interval.ms": value}, "max.poll.interval.ms", 1)


def test_protocol_follows_from_the_strategy() -> None:
    assert protocol_of({}) == "cooperative"
    assert protocol_of({"partition.assignment.strategy": "range,roundrobin"}) == "eager"
    with pytest.raises(ValueError, match=r"sticky"):
        protocol_of({"partition.assignment.strategy": "sticky"})
