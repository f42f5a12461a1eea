from __future__ import annotations

import pytest

from flowdsl.brokers.partitioner import Partitioner, murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "java"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_hash_as_they_do_in_java(key: bytes, java: int) -> None:
    assert murmur2(key) == java & 0xFFFFFFFF


def test_partition_is_the_positive_hash_modulo_the_number_of_partitions() -> None:
    assert partition_of(b"foobar", 10) == (-790332482 & 0x7FFFFFFF) % 10


def test_records_without_key_go_to_partitions_in_turn_for_each_topic() -> None:
    choose = Partitioner()
    assert [choose("a", None, 3) for _ in range(4)] == [0, 1, 2, 0]
    assert choose("b", None, 3) == 0


def test_empty_key_is_a_key() -> None:
    choose = Partitioner()
    assert len({choose("a", b"", 7) for _ in range(5)}) == 1
