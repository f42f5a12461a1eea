"""A way to break the library."""

from __future__ import annotations

from attrs import frozen


@frozen
class Mutant:
    """Has a name, and the rule of delivery that it breaks. ``before`` stands once in the file, ``after`` takes its place.

    ``also``: further such pairs in the same file, where a rule is kept twice.
    """

    name: str
    rule: str
    file: str
    before: str
    after: str
    also: tuple[tuple[str, str], ...] = ()
