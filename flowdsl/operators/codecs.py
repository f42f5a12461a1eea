"""Codecs: between the bytes on the broker and the values in a flow.

A codec is an object with ``decode``, ``encode`` or both; a plain function stands for either.
"""

from __future__ import annotations

from collections.abc import Callable
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

import msgspec
from msgspec import Struct

from flowdsl.errors import shown
from flowdsl.operators.checks import function

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class Encoder(Protocol[T_contra]):
    """Anything that makes bytes of values."""

    def encode(self, value: T_contra, /) -> bytes: ...


class Decoder(Protocol[T_co]):
    """Anything that makes values of bytes."""

    def decode(self, data: bytes, /) -> T_co: ...


class Codec(Encoder[T_contra], Decoder[T_co], Protocol[T_contra, T_co]):
    """Both ways."""


class Text(Struct, frozen=True):
    """UTF-8, both ways."""

    def decode(self, data: bytes, /) -> str:
        return data.decode()

    def encode(self, value: str, /) -> bytes:
        return value.encode()

    def __repr__(self) -> str:
        return "TEXT"


class Raw(Struct, frozen=True):
    """The bytes as they are, both ways."""

    def decode(self, data: bytes, /) -> bytes:
        return data

    def encode(self, value: bytes, /) -> bytes:
        return value

    def __repr__(self) -> str:
        return "RAW"


PLAIN = (dict, list, str, int, float, bool, type(None))
"""What JSON is made of."""
_plain = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class TypedJson(Generic[T]):
    """JSON into one type, validated: a dataclass, an attrs class, a ``msgspec.Struct``, a ``TypedDict``, or any annotation of these."""

    __slots__ = ("decoder", "type")

    def __init__(self, type: Any) -> None:  # noqa: A002  # what the argument is
        try:
            decoder = msgspec.json.Decoder(type)
            info = msgspec.inspect.type_info(type)
        except (TypeError, ValueError, RuntimeError, NameError) as wrong:
            msg = f"JSON cannot decode into {shown(type)}: {wrong}"
            raise TypeError(msg) from wrong
        if isinstance(info, msgspec.inspect.CustomType) and not any(issubclass(kind, info.cls) for kind in PLAIN):
            msg = f"JSON cannot decode into {shown(type)}: it is no dataclass, attrs class, msgspec.Struct or TypedDict"
            raise TypeError(msg)
        self.type = type
        self.decoder: Callable[[bytes], Any] = decoder.decode

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypedJson) and other.type == self.type

    def __hash__(self) -> int:
        return hash((TypedJson, self.type))

    def decode(self, data: bytes, /) -> T:
        value: T = self.decoder(data)
        return value

    def encode(self, value: T, /) -> bytes:
        return _encoder.encode(value)

    def __repr__(self) -> str:
        return f"JSON({getattr(self.type, '__name__', self.type)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TypedJson, (self.type,)


class Json(Struct, frozen=True):
    """JSON: into dicts, lists, strings and numbers; out of these, dataclasses, attrs classes and ``msgspec.Struct`` too."""

    def decode(self, data: bytes, /) -> Any:
        return _plain.decode(data)

    def encode(self, value: object, /) -> bytes:
        return _encoder.encode(value)

    if TYPE_CHECKING:

        @overload
        def __call__(self, type: type[T], /) -> Codec[T, T]: ...
        @overload
        def __call__(self, type: UnionType, /) -> Codec[Any, Any]: ...

    def __call__(self, type: Any, /) -> Any:  # noqa: A002  # what the argument is
        """The codec of one type, validated and faster than into dicts: ``JSON(Order)``."""
        codec: TypedJson[Any] = TypedJson(type)
        return codec

    def __repr__(self) -> str:
        return "JSON"


TEXT = Text()
RAW = Raw()
JSON = Json()


def decoder_of(codec: Any, name: str = "codec") -> Callable[[bytes], Any]:
    """The plain function that decodes. Raises TypeError, naming the argument, for what is no codec."""
    return function_of(codec, "decode", name)


def encoder_of(codec: Any, name: str = "codec") -> Callable[[Any], bytes | str]:
    """The plain function that encodes. Raises TypeError, naming the argument, for what is no codec."""
    return function_of(codec, "encode", name)


def function_of(codec: Any, method: str, name: str = "codec") -> Callable[[Any], Any]:
    """The plain function that does what that method of a codec does. Raises TypeError as the two above."""
    if isinstance(codec, Json):
        return _plain.decode if method == "decode" else _encoder.encode
    if isinstance(codec, TypedJson):
        return codec.decoder if method == "decode" else _encoder.encode
    # str.encode belongs to texts, and str itself is a function; the name of an encoding is no codec
    bound = None if isinstance(codec, type | str | bytes | bytearray) else getattr(codec, method, None)
    if not callable(bound) and not callable(codec):
        msg = f"{name} must be a function or an object with {method}, not {shown(codec)}"
        raise TypeError(msg)
    return function(bound if callable(bound) else codec, name)
