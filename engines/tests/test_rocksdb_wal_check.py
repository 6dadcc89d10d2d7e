"""The end of a RocksDB log: where it is one, and where it only looks like one."""

import struct
from pathlib import Path

import pytest

from metastore.engines.rocksdb.wal_check import (
    BLOCK_BYTES,
    _masked_crc32c,
    find_lost_record_or_none,
)


def record(payload: bytes, kind: int = 1) -> bytes:
    crc = _masked_crc32c(bytes([kind]) + payload)
    return struct.pack("<IHB", crc, len(payload), kind) + payload


def lost(tmp_path: Path, data: bytes) -> tuple[int, int] | None:
    (tmp_path / "wal").write_bytes(data)
    return find_lost_record_or_none(tmp_path / "wal")


FIRST, SECOND, THIRD = record(b"one"), record(b"second" * 9), record(b"3" * 40)
WHOLE = FIRST + SECOND + THIRD


def test_the_checksum_is_crc32c_masked_as_rocksdb_masks_it() -> None:
    masked = ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert _masked_crc32c(b"123456789") == masked


@pytest.mark.parametrize("cut", range(len(WHOLE) + 1))
def test_a_log_that_was_cut_has_a_true_end(tmp_path: Path, cut: int) -> None:
    assert lost(tmp_path, WHOLE[:cut]) is None
    assert lost(tmp_path, WHOLE[:cut] + bytes(2 * BLOCK_BYTES)) is None


def test_a_record_behind_one_that_is_too_long_is_found(tmp_path: Path) -> None:
    longer = FIRST[:5] + b"\xff" + FIRST[6:]
    assert lost(tmp_path, longer + SECOND) == (0, len(longer))


def test_a_record_behind_zeros_is_found_in_the_same_block_and_in_a_later_one(
    tmp_path: Path,
) -> None:
    assert lost(tmp_path, FIRST + bytes(90) + THIRD) == (len(FIRST), len(FIRST) + 90)
    blocks = FIRST.ljust(3 * BLOCK_BYTES, b"\x00")
    assert lost(tmp_path, blocks + THIRD) == (len(FIRST), 3 * BLOCK_BYTES)


def test_blocks_that_are_full_to_their_padding_are_walked_through(tmp_path: Path) -> None:
    for padding in range(7):
        full = record(bytes(BLOCK_BYTES - 7 - padding)) + bytes(padding)
        assert lost(tmp_path, full + full + SECOND) is None
        assert lost(tmp_path, full + bytes(50) + SECOND) == (BLOCK_BYTES, BLOCK_BYTES + 50)
