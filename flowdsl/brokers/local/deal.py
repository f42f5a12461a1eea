"""Who gets which partition: balanced, and staying where they are as far as balance allows."""

from __future__ import annotations

from collections.abc import Mapping

from flowdsl.types import Partition

Wants = Mapping[int, frozenset[Partition]]
"""Members in the order of joining, with the partitions that each of them asks for."""


def deal(wants: Wants, held: Mapping[Partition, int]) -> dict[Partition, int]:
    """A member for every partition that anybody wants.

    Members that want the same get the same number, give or take one; a partition moves only where that evens out.
    """
    dealt: dict[Partition, int] = {}
    load = dict.fromkeys(wants, 0)
    candidates = {
        partition: [member for member in wants if partition in wants[member]]
        for partition in sorted(frozenset[Partition]().union(*wants.values()))
    }
    for partition, members in candidates.items():
        if (holder := held.get(partition)) in members:
            dealt[partition] = holder
            load[holder] += 1
    for partition, members in candidates.items():
        if partition not in dealt:
            dealt[partition] = min(members, key=load.__getitem__)
            load[dealt[partition]] += 1
    while _even_out(dealt, load, candidates):
        pass
    return {partition: dealt[partition] for partition in candidates}


def _even_out(dealt: dict[Partition, int], load: dict[int, int], candidates: dict[Partition, list[int]]) -> bool:
    """One round of moves; each brings two members closer together, so that rounds come to an end."""
    moved = False
    for partition, members in candidates.items():
        giver, taker = dealt[partition], min(members, key=load.__getitem__)
        if load[taker] + 1 < load[giver]:
            dealt[partition] = taker
            load[giver] -= 1
            load[taker] += 1
            moved = True
    return moved
