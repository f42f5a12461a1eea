"""Putting offsets together: the highest of each partition counts."""

from __future__ import annotations

from collections.abc import Mapping

from flowdsl.types import Partition


def raise_to(offsets: dict[Partition, int], others: Mapping[Partition, int]) -> None:
    """Raise each of ``offsets`` to the one in ``others`` where that is higher."""
    for partition, offset in others.items():
        if offsets.get(partition, offset) <= offset:
            offsets[partition] = offset
