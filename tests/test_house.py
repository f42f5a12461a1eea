"""The house stands: imports go up the list of rooms only, one file asks for the time, files and functions stay small.

The rules are functions from a module's path and text to its faults, so that they can be tried on made-up modules.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

PACKAGE = Path(__file__).parent.parent / "flowdsl"
ROOMS = (
    *("types", "errors", "clock", "records", "origins", "chunks"),
    *("pool", "interface", "strategies", "reactive", "brokers", "stages"),
    *("processing", "plan", "operators", "compiler", "display", "flow", "testing"),
)
"""In the order in which they are read: each imports itself and those before it."""

OPTIONAL = frozenset({"IPython", "ipywidgets", "orjson"})
"""Of extras; these may be imported where they are needed."""

KNOW_THE_TIME = frozenset({"clock.py", "pool/worker.py"})
"""The second is a program that runs by itself, in a process where this package may never be imported."""

DESCRIBE = ("operators/", "plan/nodes.py", "plan/shapes.py", "plan/text.py", "compiler/probing.py", "compiler/tree.py")
"""Where nodes are, and those who read or change their fields: nodes are ``attrs.frozen``, and all else is a Struct or a plain class."""

FILE_LINES, FUNCTION_LINES = 250, 40

Function = ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Module:
    """One file of the package; ``path`` is relative to it."""

    path: str
    tree: ast.Module
    lines: int

    @classmethod
    def of(cls, path: str, text: str) -> Module:
        return cls(path, ast.parse(text), len(text.splitlines()))

    @property
    def room(self) -> str:
        return Path(self.path).parts[0].removesuffix(".py")


# -- reading ----------------------------------------------------------------------------------------------------------


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node that exists at run time: not what stands under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.If) and is_type_checking(node) and child in node.body:
            continue
        yield child
        yield from running(child)


def imported(node: ast.AST, path: str) -> list[str]:
    """The full names of the modules, or of names in modules, that one statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    package = ("flowdsl", *Path(path).parts[:-1])
    above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
    module = ".".join(part for part in (above, node.module) if part)
    return [f"{module}.{alias.name}" for alias in node.names]


def imports_of(module: Module) -> list[tuple[int, str]]:
    return [
        (node.lineno, name)
        for node in running(module.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported(node, module.path)
    ]


def functions_of(module: Module) -> list[Function]:
    return [node for node in ast.walk(module.tree) if isinstance(node, Function)]


# -- the rules --------------------------------------------------------------------------------------------------------


def imports_go_up(module: Module) -> Iterator[str]:
    if module.path == "__init__.py":
        return
    if module.room not in ROOMS:
        yield f"{module.path}: {module.room} is no room; rooms are {', '.join(ROOMS)}"
        return
    allowed = ROOMS[: ROOMS.index(module.room) + 1]
    for line, name in imports_of(module):
        first, _, rest = name.partition(".")
        if first == "flowdsl" and rest.split(".")[0] not in allowed:
            yield f"{module.path}:{line} imports {name}, which comes after {module.room}"


def kafka_alone_knows_kafka(module: Module) -> Iterator[str]:
    for line, name in imports_of(module):
        if name.split(".")[0] == "confluent_kafka" and not module.path.startswith("brokers/kafka/"):
            yield f"{module.path}:{line} imports {name}: only brokers/kafka does"


def nodes_are_attrs_and_values_structs(module: Module) -> Iterator[str]:
    for line, name in imports_of(module):
        package = name.split(".")[0]
        if package == "dataclasses" or (package in {"attr", "attrs"} and not module.path.startswith(DESCRIBE)):
            yield f"{module.path}:{line} imports {name}: nodes are attrs.frozen, and all else is a msgspec.Struct or a plain class"


def one_file_knows_the_time(module: Module) -> Iterator[str]:
    if module.path in KNOW_THE_TIME:
        return
    for line, name in imports_of(module):
        if name.split(".")[0] == "time" or name == "asyncio.sleep":
            yield f"{module.path}:{line} imports {name}: only clock.py does"
    for node in running(module.tree):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called in {"asyncio.sleep", "time.sleep"} or called.endswith(
            ("datetime.now", "datetime.utcnow", "date.today")
        ):
            yield f"{module.path}:{node.lineno} calls {called}: ask the clock"  # type: ignore[attr-defined]  # a Call has a line


def init_only_hands_names_on(module: Module) -> Iterator[str]:
    if Path(module.path).name != "__init__.py":
        return
    for node in module.tree.body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not (is_docstring or is_all or isinstance(node, ast.Import | ast.ImportFrom)):
            yield f"{module.path}:{node.lineno} does more than hand names on"


def files_are_small(module: Module) -> Iterator[str]:
    if module.lines > FILE_LINES:
        yield f"{module.path} has {module.lines} lines, more than {FILE_LINES}: what is its second question?"


def functions_are_small(module: Module) -> Iterator[str]:
    for function in functions_of(module):
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        if length > FUNCTION_LINES:
            yield f"{module.path}:{function.lineno} {function.name} has {length} lines, more than {FUNCTION_LINES}"


def imports_stand_at_the_top(module: Module) -> Iterator[str]:
    for function in functions_of(module):
        for node in running(function):
            for name in imported(node, module.path):
                if name.split(".")[0] not in OPTIONAL:
                    yield f"{module.path}: {function.name} imports {name}: imports stand at the top of the file"


def modules_say_what_they_own(module: Module) -> Iterator[str]:
    if module.tree.body and ast.get_docstring(module.tree) is None:
        yield f"{module.path} does not open with what it owns"


Rule = Callable[[Module], Iterator[str]]
RULES: tuple[Rule, ...] = (
    imports_go_up,
    kafka_alone_knows_kafka,
    nodes_are_attrs_and_values_structs,
    one_file_knows_the_time,
    init_only_hands_names_on,
    files_are_small,
    functions_are_small,
    imports_stand_at_the_top,
    modules_say_what_they_own,
)

# -- the house --------------------------------------------------------------------------------------------------------


def test_house_is_found() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} >= {"types.py", "errors.py", "clock.py"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_whole_package_keeps_the_rule(rule: Rule) -> None:
    modules = [
        Module.of(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]
    faults = [fault for module in modules for fault in rule(module)]
    assert not faults, "\n".join(faults)


# -- the rules can fail -----------------------------------------------------------------------------------------------

BROKEN = [
    (imports_go_up, "plan/nodes.py", "from flowdsl.flow.flow import Flow"),
    (imports_go_up, "plan/nodes.py", "import flowdsl.operators"),
    (imports_go_up, "plan/nodes.py", "from ..compiler import build"),
    (imports_go_up, "plan/nodes.py", "from flowdsl import Flow"),
    (imports_go_up, "plan/nodes.py", "def f():\n    from flowdsl.testing import Driver"),
    (imports_go_up, "plan/nodes.py", "if TYPE_CHECKING:\n    pass\nelse:\n    from flowdsl.flow import flow"),
    (imports_go_up, "types.py", "from flowdsl.errors import FlowError"),
    (imports_go_up, "cellar/wine.py", ""),
    (kafka_alone_knows_kafka, "brokers/protocols.py", "from confluent_kafka import Consumer"),
    (nodes_are_attrs_and_values_structs, "types.py", "from attrs import frozen"),
    (nodes_are_attrs_and_values_structs, "plan/nodes.py", "import dataclasses"),
    (one_file_knows_the_time, "processing/loop.py", "import time"),
    (one_file_knows_the_time, "pool/hub.py", "import time"),
    (one_file_knows_the_time, "processing/loop.py", "from time import monotonic"),
    (one_file_knows_the_time, "processing/loop.py", "asyncio.sleep(1)"),
    (one_file_knows_the_time, "processing/loop.py", "datetime.now(UTC)"),
    (one_file_knows_the_time, "processing/loop.py", "datetime.datetime.utcnow()"),
    (init_only_hands_names_on, "plan/__init__.py", "X = 1"),
    (init_only_hands_names_on, "__init__.py", "def __getattr__(name): ..."),
    (files_are_small, "plan/nodes.py", "x = 1\n" * (FILE_LINES + 1)),
    (functions_are_small, "plan/nodes.py", "def f():\n" + "    x = 1\n" * (FUNCTION_LINES + 1)),
    (imports_stand_at_the_top, "plan/nodes.py", "def f():\n    import json"),
    (modules_say_what_they_own, "plan/nodes.py", "x = 1"),
]

SOUND = [
    (imports_go_up, "plan/nodes.py", "from flowdsl.types import Topic\nfrom flowdsl.plan.where import here"),
    (imports_go_up, "plan/nodes.py", "from .where import here\nimport json"),
    (imports_go_up, "plan/nodes.py", "if TYPE_CHECKING:\n    from flowdsl.flow.flow import Flow"),
    (imports_go_up, "__init__.py", "from flowdsl.testing import Driver"),
    (kafka_alone_knows_kafka, "brokers/kafka/consumer.py", "import confluent_kafka"),
    (nodes_are_attrs_and_values_structs, "plan/nodes.py", "from attrs import frozen\nfrom msgspec import Struct"),
    (nodes_are_attrs_and_values_structs, "types.py", "from msgspec import Struct\nfrom typing import NamedTuple"),
    (one_file_knows_the_time, "clock.py", "import time\ntime.sleep(1)"),
    (one_file_knows_the_time, "processing/loop.py", "clock.sleep(1)\nclock.utc()"),
    (init_only_hands_names_on, "plan/__init__.py", '"""Names."""\nfrom flowdsl.plan.nodes import A\n__all__ = ["A"]'),
    (files_are_small, "plan/nodes.py", "x = 1\n" * FILE_LINES),
    (functions_are_small, "plan/nodes.py", 'def f():\n    """' + "a\n" * 50 + '"""\n' + "    x = 1\n" * FUNCTION_LINES),
    (imports_stand_at_the_top, "display/notebook.py", "def f():\n    import IPython.display"),
    (modules_say_what_they_own, "plan/__init__.py", ""),
]


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN)
def test_rule_finds_what_breaks_it(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Module.of(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), SOUND)
def test_rule_passes_what_keeps_it(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Module.of(path, text))) == []
