"""Which partition a record goes to: by its key exactly as Kafka's Java clients choose, and in turn without one.

Records of one key must meet in one partition whoever produced them, so the hash is not ours to choose.
"""

from __future__ import annotations

from functools import lru_cache

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_WORD = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


@lru_cache(maxsize=65536)
def murmur2(key: bytes) -> int:
    """The 32-bit murmur2 hash of the Java clients, as an unsigned number. Keys repeat, so results are remembered."""
    length = len(key)
    whole = length & ~3
    state = (_SEED ^ length) & _WORD
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * _MULTIPLIER & _WORD
        word = (word ^ word >> 24) * _MULTIPLIER & _WORD
        state = state * _MULTIPLIER & _WORD ^ word
    if whole < length:
        state = (state ^ int.from_bytes(key[whole:], "little")) * _MULTIPLIER & _WORD
    state = (state ^ state >> 13) * _MULTIPLIER & _WORD
    return state ^ state >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key in a topic with so many partitions."""
    return (murmur2(key) & _POSITIVE) % partitions


class Partitioner:
    """Chooses partitions for one producer: by key, or in turn for each topic."""

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}

    def __call__(self, topic: str, key: bytes | None, partitions: int) -> int:
        if key is not None:
            return partition_of(key, partitions)
        turn = self._turns.get(topic, 0)
        self._turns[topic] = turn + 1
        return turn % partitions
