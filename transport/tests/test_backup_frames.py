"""Frames of backups: what was encoded comes back, all else is Malformed."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.transport import backup_frames
from metastore.transport.backup_frames import (
    BackupReady,
    BackupRequest,
    Fetch,
    Fetched,
    decode_node_backup_frame,
)
from metastore.transport.envelope import REQUEST_ID_MAX, decode_client_frame
from metastore.transport.errors import Malformed
from metastore.transport.framing import decode_array
from metastore.transport.limits import BACKUP_PIECE_BYTES_MAX

IDS = st.integers(0, REQUEST_ID_MAX)
NUMBERS = st.integers(0, (1 << 63) - 1)


def pack(*fields: Any) -> bytes:
    return bytes(msgpack.packb(fields))


def decode_answer(frame: bytes) -> Any:
    return decode_node_backup_frame(decode_array(frame, 1 << 20))


@given(IDS, IDS, NUMBERS, st.integers(1, BACKUP_PIECE_BYTES_MAX))
def test_what_a_client_asks_comes_back_as_it_was(own: int, backup: int, at: int, size: int) -> None:
    assert decode_client_frame(backup_frames.encode_backup_request(own)) == BackupRequest(own)
    frame = backup_frames.encode_fetch(own, backup, at, size)
    assert decode_client_frame(frame) == Fetch(own, backup, at, size)
    assert msgpack.unpackb(frame) == [1, 8, own, backup, at, size]


@given(IDS, NUMBERS, NUMBERS, NUMBERS, st.binary(min_size=32, max_size=32), st.binary())
def test_what_a_node_answers_comes_back_as_it_was(
    own: int, size: int, revision: int, index: int, sha256: bytes, data: bytes
) -> None:
    frame = backup_frames.encode_backup_ready(own, size, revision, index, sha256)
    assert decode_answer(frame) == BackupReady(own, size, revision, index, sha256)
    assert msgpack.unpackb(frame) == [1, 7, own, size, revision, index, sha256]
    assert decode_answer(backup_frames.encode_fetched(own, data)) == Fetched(own, data)


@pytest.mark.parametrize(
    "frame",
    [
        pack(1, 7, 1, 0),
        pack(1, 8, 1, 1, 0),
        pack(1, 8, 1, 1, -1, 10),
        pack(1, 8, 1, 1, 1 << 63, 10),
        pack(1, 8, 1, 1, 0, 0),
        pack(1, 8, 1, 1, 0, BACKUP_PIECE_BYTES_MAX + 1),
        pack(1, 8, 1, 1, "0", 10),
    ],
)
def test_everything_else_from_a_client_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        decode_client_frame(frame)


@pytest.mark.parametrize(
    "frame",
    [
        pack(1, 7, 1, 1, 1, 1, b"short"),
        pack(1, 7, 1, -1, 1, 1, bytes(32)),
        pack(1, 7, 1, 1, 1, 1),
        pack(1, 8, 1, "text"),
        pack(1, 8, 1),
    ],
)
def test_everything_else_from_a_node_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        decode_answer(frame)


def test_frames_of_other_kinds_are_not_taken() -> None:
    assert decode_answer(pack(1, 1, 1)) is None
