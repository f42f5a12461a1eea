"""What functions are called, and where they are defined."""

import functools
import operator
from dataclasses import dataclass

from flowdsl.plan.functions import defined_at, full_name, short_name
from flowdsl.plan.where import Where


def plain() -> None: ...


def wrapping(function: object) -> object:
    @functools.wraps(function)  # type: ignore[arg-type]  # any function
    def wrapped() -> None: ...

    return wrapped


class Callable:
    def __call__(self) -> None: ...

    def method(self) -> None: ...


def test_a_function_is_named_with_its_module() -> None:
    assert full_name(plain) == f"{__name__}.plain"
    assert full_name(functools.partial(plain)) == f"{__name__}.plain"
    assert full_name(Callable()) == f"{__name__}.Callable"
    assert full_name(Callable().method) == f"{__name__}.Callable.method"
    assert full_name(len) == "len"


def test_a_function_is_defined_at_its_first_line() -> None:
    expected = Where(__file__, plain.__code__.co_firstlineno)
    assert defined_at(plain) == expected
    assert defined_at(functools.partial(plain)) == expected
    assert defined_at(wrapping(plain)) == expected


def test_a_callable_object_is_defined_where_its_call_is() -> None:
    assert defined_at(Callable()) == Where(__file__, Callable.__call__.__code__.co_firstlineno)
    assert defined_at(Callable().method) == Where(__file__, Callable.method.__code__.co_firstlineno)


def test_a_function_without_source_has_no_place() -> None:
    assert defined_at(len) is None
    assert defined_at(operator.itemgetter(1)) is None
    assert short_name(operator.itemgetter(1)) == "itemgetter"
    assert short_name(lambda: None) is None


class Made:
    def __init__(self) -> None: ...


@dataclass
class Generated:
    value: int


def test_a_class_is_defined_where_its_objects_are_made() -> None:
    assert defined_at(Made) == Where(__file__, Made.__init__.__code__.co_firstlineno)
    assert defined_at(Generated) is None
    assert defined_at(int) is None
