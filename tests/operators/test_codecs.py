"""Codecs, and the plain functions behind them."""

import pickle
from dataclasses import dataclass
from typing import Any, TypedDict

import attrs
import msgspec
import pytest

from flowdsl import JSON, RAW, TEXT
from flowdsl.operators.codecs import decoder_of, encoder_of


@dataclass
class Plain:
    id: int
    paid: bool


@attrs.frozen
class Frozen:
    id: int
    paid: bool


class Struct(msgspec.Struct):
    id: int
    paid: bool


class Typed(TypedDict):
    id: int
    paid: bool


class Reversed:
    def encode(self, value: bytes) -> bytes:
        return value[::-1]

    def decode(self, data: bytes) -> bytes:
        return data[::-1]


KINDS: list[Any] = [Plain, Frozen, Struct, Typed]
RECORD = b'{"id":1,"paid":true}'


def test_json_gives_plain_objects() -> None:
    assert JSON.decode(RECORD) == {"id": 1, "paid": True}
    assert JSON.encode({"id": 1, "paid": True}) == RECORD


@pytest.mark.parametrize("kind", KINDS)
def test_json_of_a_type_goes_both_ways(kind: Any) -> None:
    value = JSON(kind).decode(RECORD)
    assert value == kind(id=1, paid=True)
    assert JSON(kind).encode(value) == JSON.encode(value) == RECORD


@pytest.mark.parametrize("kind", KINDS)
def test_json_of_a_type_validates(kind: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        JSON(kind).decode(b'{"id":"one","paid":true}')
    with pytest.raises(msgspec.ValidationError):
        JSON(kind).decode(b'{"id":1}')


def test_json_of_any_annotation() -> None:
    assert JSON(list[int]).decode(b"[1,2]") == [1, 2]
    assert JSON(int | None).decode(b"null") is None


def test_json_of_what_it_cannot_make_is_refused() -> None:
    with pytest.raises(TypeError, match="JSON cannot decode into"):
        JSON(3)  # type: ignore[call-overload]  # what is refused


def test_codecs_compare_pickle_and_show_themselves() -> None:
    codecs: list[object] = [JSON(Plain), JSON(Frozen)]
    assert JSON(Plain) == codecs[0] != codecs[1]
    assert pickle.loads(pickle.dumps(JSON(Plain))).decode(RECORD) == Plain(1, True)  # noqa: S301  # our own bytes
    assert [repr(codec) for codec in (JSON, JSON(Plain), TEXT, RAW)] == ["JSON", "JSON(Plain)", "TEXT", "RAW"]


def test_text_and_raw() -> None:
    assert (TEXT.decode("ü".encode()), TEXT.encode("ü")) == ("ü", "ü".encode())
    assert (RAW.decode(b"\xff"), RAW.encode(b"\xff")) == (b"\xff", b"\xff")


def test_codecs_and_functions_become_plain_functions() -> None:
    assert decoder_of(JSON(Plain))(RECORD) == Plain(1, True)
    assert encoder_of(JSON)([1]) == b"[1]"
    assert decoder_of(Reversed())(b"ab") == b"ba"
    assert encoder_of(Reversed())(b"ab") == b"ba"
    assert decoder_of(bytes.decode)(b"ab") == "ab"


def test_a_class_is_a_function() -> None:
    assert encoder_of(str)(1) == "1"
