"""The examples in the documentation of operators and flows are true."""

import doctest
import importlib
import pkgutil

import pytest

import flowdsl.flow
import flowdsl.operators
import flowdsl.plan

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (flowdsl.operators, flowdsl.flow, flowdsl.plan)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
