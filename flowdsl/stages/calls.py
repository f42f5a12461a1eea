"""Calls: fused steps that do no more than call a user's function with one value and look at what it returns.

Neighbouring calls are one loop, which takes a record through all of them before it takes the next: a value is still in
the processor's cache when the next function gets it, and a dead one is gone before the next comes. Such a loop is
written as Python for the calls at hand, a line for each thing to be done, as attrs and namedtuple write what they need.

Nothing in it is there for the failing record. Which call failed is the line at which the traceback left the loop, and
its input is a variable there; which record failed follows from how long the lists are that the loop filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from functools import lru_cache, partial
from types import CodeType, FunctionType
from typing import Any, NamedTuple, NoReturn

from flowdsl.chunks import Chunk
from flowdsl.errors import refuse_awaitable
from flowdsl.origins import Sifted
from flowdsl.stages.context import StepContext
from flowdsl.stages.failures import Handler
from flowdsl.stages.kernel import Fusable

MOST_TYPES = 1000
"""So many types of results are known to be no awaitables; then they are learned anew."""


class Role(Enum):
    """What comes of a call's result."""

    MAP = auto()
    """It goes on in the place of the value."""
    FILTER = auto()
    """The value goes on if it is true."""
    TAP = auto()
    """The value goes on."""
    DECODE = auto()
    """As MAP; a null is a failure, and not given to the function."""
    PRESENT = auto()
    """No call: the value goes on, and a null is a failure."""


class Call(Fusable):
    """One step that calls a function value by value. ``function``: None for a role that calls nothing."""

    def __init__(self, step: StepContext, handler: Handler, role: Role, function: Callable[[Any], Any] | None) -> None:
        super().__init__(step, handler)
        self.role, self.function = role, function

    def settle(self, chunk: Chunk[Any]) -> Chunk[Any]:
        """What goes on at the end of a loop that ends with this call."""
        return chunk


# -- writing ----------------------------------------------------------------------------------------------------------

# As few instructions as there can be for what functions mostly return: an object of the type of last time, True or False.
# ``__class__`` costs less than ``type``, and one that is made up only leads to the look at the type.
_LINES: dict[Role, tuple[str, ...]] = {
    Role.MAP: (
        "{out} = f{n}({value})",
        "if {out}.__class__ is not k{n} and type({out}) not in plain{n}: look({n}, {out})",
    ),
    Role.FILTER: (
        "ok = f{n}({value})",
        "if ok is not True:",
        "    if not ok:",
        "        drops{n}.append(len(passed))",
        "        continue",
        "    refuse(ok)",
    ),
    Role.TAP: (
        "result = f{n}({value})",
        "if result is not None and type(result) not in plain{n}: look({n}, result)",
    ),
    Role.PRESENT: ("if {value} is None: null()",),
}
_LINES[Role.DECODE] = _LINES[Role.PRESENT] + _LINES[Role.MAP]
_CHANGING = frozenset({Role.MAP, Role.DECODE})


class _Text(NamedTuple):
    """The code of a loop; for each line the number of its call, and for each call the variable with its input."""

    code: CodeType
    calls: tuple[int | None, ...]
    inputs: tuple[str, ...]


@lru_cache(maxsize=256)
def _written(roles: tuple[Role, ...]) -> _Text:
    """Write the loop for calls of these roles."""
    lines = ["def loop(passed, drops, values):"]
    lines += [f"    k{n} = kinds[{n}]" for n, role in enumerate(roles) if role in _CHANGING]
    filters = [n for n, role in enumerate(roles) if role is Role.FILTER]
    lines += [f"    drops{n} = drops[{at}]" for at, n in enumerate(filters)]
    lines.append("    for v in values:")
    calls: list[int | None] = [None] * len(lines)
    inputs: list[str] = []
    value = "v"
    for n, role in enumerate(roles):
        inputs.append(value)
        out = f"v{n}" if role in _CHANGING else value
        lines += [" " * 8 + line.format(n=n, value=value, out=out) for line in _LINES[role]]
        calls += [n] * len(_LINES[role])
        value = out
    lines.append(f"        passed.append({value})")
    calls.append(None)
    module = compile("\n".join(lines), "<the fused steps of a flow>", "exec")
    code = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    return _Text(code, tuple(calls), tuple(inputs))


def _null() -> NoReturn:
    text = (
        'the value is null (a tombstone), and the source was not told what to do with it: tombstones="skip" or "keep"'
    )
    raise ValueError(text)


# -- running ----------------------------------------------------------------------------------------------------------


class Passed:
    """What a loop filled. A record that it took through has left its value, or a number with the filter that dropped it:
    how many values were there already.
    """

    __slots__ = ("drops", "values")

    def __init__(self, filters: int) -> None:
        self.values: list[Any] = []
        self.drops: list[list[int]] = [[] for _ in range(filters)]

    @property
    def records(self) -> int:
        """How many records came to their end."""
        return len(self.values) + sum(map(len, self.drops))


class Loop:
    """Neighbouring calls as one loop."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = tuple(calls)
        roles = tuple(call.role for call in calls)
        text = _written(roles)
        self._text = text
        self._filters = roles.count(Role.FILTER)
        self._kinds: list[type[Any] | None] = [None] * len(roles)
        self._plain: list[set[type[Any]]] = [set() for _ in roles]
        # A code object of its own: the interpreter adapts it to the functions that it calls.
        self._code = text.code.replace()
        names: dict[str, Any] = {"kinds": self._kinds, "look": self._look, "refuse": refuse_awaitable, "null": _null}
        for n, call in enumerate(calls):
            names |= {f"f{n}": call.function, f"plain{n}": self._plain[n]}
        self._run: Callable[..., None] = FunctionType(self._code, names)

    def passed(self) -> Passed:
        """What is to be filled."""
        return Passed(self._filters)

    def filling(self, passed: Passed) -> Callable[[Iterator[Any]], None]:
        """What takes values through all calls. May raise anything, at any of them."""
        return partial(self._run, passed.values, passed.drops)

    def finish(self, chunk: Chunk[Any], passed: Passed) -> Chunk[Any]:
        """What goes on of the chunk, all of which came to its end."""
        count, drops = len(chunk.values), iter(passed.drops)
        for call in self.calls:
            steps = call.step.count
            steps.received += count
            if call.role is Role.FILTER:
                count -= len(next(drops))
            steps.emitted += count
        values, origins = passed.values, chunk.origins
        if len(values) < len(chunk.values):
            origins = Sifted(origins, passed.drops, len(values))
        return self.calls[-1].settle(Chunk(values, chunk.mark, origins))

    def blamed(self, error: BaseException) -> tuple[int, Any]:
        """Which call raised this out of ``run``, and what it was given. It passed those before: they are counted."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code is not self._code:
            trace = trace.tb_next
        if trace is None:
            raise error
        first = self._code.co_firstlineno
        n = self._text.calls[trace.tb_lineno - first] or 0
        for call in self.calls[:n]:
            call.step.count.received += 1
            call.step.count.emitted += 1
        return n, trace.tb_frame.f_locals[self._text.inputs[n]]

    def _look(self, n: int, result: object) -> None:
        """A type that this call has not returned yet, or not for long."""
        refuse_awaitable(result)
        plain = self._plain[n]
        if len(plain) >= MOST_TYPES:
            plain.clear()
        plain.add(type(result))
        self._kinds[n] = type(result)
