"""``decode`` and ``encode``: between bytes and values, with a codec or a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, overload

from attrs import frozen

from flowdsl.operators.codecs import Decoder, Encoder, decoder_of, encoder_of, function_of
from flowdsl.plan.fragment import Fragment
from flowdsl.plan.hints import FB, F_co, Hint1, T, U
from flowdsl.plan.policy import OnError, error_policy
from flowdsl.plan.shapes import Chaining, put
from flowdsl.stages.calls import Call, Role
from flowdsl.stages.parts import Build, Part

if TYPE_CHECKING:
    from flowdsl.flow.flow import Flow


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Coding(Chaining):
    """What a codec makes of each value, by its method that is called as the step is, or by itself where it is a function."""

    codec: Any

    def named_after(self) -> object:
        return None if hasattr(self.codec, self.word) else self.codec

    def lower(self, build: Build) -> tuple[Part, ...]:
        return (Call(build.step, build.handler, Role.MAP, function_of(self.codec, self.word)),)


class Decode(Coding):
    """What the codec makes of bytes."""

    word = "decode"


class Encode(Coding, Generic[F_co]):
    """The bytes that the codec makes of values."""

    word = "encode"

    def __call__(self: Encode[Callable[[T], U]], up: Flow[T], /) -> Flow[U]:
        flow: Flow[U] = put(self, up)
        return flow


def decode(
    codec: Decoder[T] | Callable[[bytes], T],
    *,
    name: str | None = None,
    on_error: OnError | None = None,
) -> Fragment[Flow[bytes], Flow[T]]:
    """Make values of bytes: ``decode(JSON)``, ``decode(JSON(Order))``, ``decode(TEXT)``, or with a function.

    A source does the same with ``source(..., decode=JSON)``.

    >>> from flowdsl import JSON, decode, from_iterable, to_list
    >>> (from_iterable([b"[1]", b"{}"]) | decode(JSON) | to_list()).run()
    [[1], {}]
    """
    decoder_of(codec)
    node: Fragment[Flow[bytes], Flow[T]] = Decode(codec=codec, name=name, on_error=error_policy(on_error))
    return node


@overload
def encode(codec: FB | Hint1, *, name: str | None = ..., on_error: OnError | None = ...) -> Encode[FB]: ...
@overload
def encode(
    codec: Encoder[T],
    *,
    name: str | None = ...,
    on_error: OnError | None = ...,
) -> Fragment[Flow[T], Flow[bytes]]: ...
def encode(codec: Any, *, name: str | None = None, on_error: OnError | None = None) -> Any:
    """Make bytes of values: ``encode(JSON)``, ``encode(TEXT)``, or with a function.

    >>> from flowdsl import JSON, encode, from_iterable, to_list
    >>> (from_iterable([{"id": 1}]) | encode(JSON) | to_list()).run()
    [b'{"id":1}']
    """
    encoder_of(codec)
    node: Encode[Any] = Encode(codec=codec, name=name, on_error=error_policy(on_error))
    return node
