"""What is fused with what: the one rule, which building follows and ``explain`` tells."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from flowdsl.stages.kernel import Fusable
from flowdsl.stages.parts import Collecting, Part, Standing


class Lowered(Struct, frozen=True):
    """The parts of one step, and its name."""

    name: str
    parts: tuple[Part, ...]


class Group(Struct, frozen=True):
    """What becomes one stage."""

    names: tuple[str, ...]
    kernels: tuple[Fusable, ...] = ()
    collecting: Collecting | None = None
    standing: Standing | None = None


def segments(steps: Sequence[Lowered]) -> list[Group]:
    """Fuse neighbours: kernels, and at most one collector behind them, are one stage."""
    groups: list[Group] = []
    for step in steps:
        for part in step.parts:
            last = groups[-1] if groups else None
            is_open = last is not None and last.standing is None and last.collecting is None
            if isinstance(part, Standing):
                groups.append(Group((step.name,), standing=part))
            elif last is None or not is_open:
                groups.append(_begun(step.name, part))
            else:
                groups[-1] = _extended(last, step.name, part)
    return groups


def _begun(name: str, part: Fusable | Collecting) -> Group:
    if isinstance(part, Fusable):
        return Group((name,), kernels=(part,))
    return Group((name,), collecting=part)


def _extended(group: Group, name: str, part: Fusable | Collecting) -> Group:
    names = group.names if group.names[-1] == name else (*group.names, name)
    if isinstance(part, Fusable):
        return Group(names, (*group.kernels, part))
    return Group(names, group.kernels, part)
