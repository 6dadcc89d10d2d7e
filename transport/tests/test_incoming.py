"""A snapshot file on its way in: what is kept, what is cut, what is synced before it is whole."""

import hashlib
import os
from pathlib import Path

import pytest

from metastore.transport.incoming import IncomingFile, digest_of

CONTENT = b"0123456789"
DIGEST = hashlib.sha256(CONTENT).digest()


def test_a_file_is_synced_before_it_gets_its_whole_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names_at_sync: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: names_at_sync.extend(p.name[:7] for p in tmp_path.iterdir())
    )
    file = IncomingFile(tmp_path, 10, DIGEST)
    file.add(CONTENT)
    whole = file.finish_or_none()
    assert whole is not None
    assert names_at_sync == ["partial"]
    assert whole.read_bytes() == CONTENT


def test_only_the_partial_file_in_use_is_kept(tmp_path: Path) -> None:
    other = IncomingFile(tmp_path, 10, bytes(32))
    other.add(b"0")
    other.close()
    IncomingFile(tmp_path, 10, DIGEST).close()
    assert [path.name for path in tmp_path.iterdir()] == [f"partial-{DIGEST.hex()}-10"]


def test_a_partial_file_goes_on_where_it_was(tmp_path: Path) -> None:
    file = IncomingFile(tmp_path, 10, DIGEST)
    file.add(CONTENT[:4])
    file.close()
    again = IncomingFile(tmp_path, 10, DIGEST)
    assert again.received == 4
    again.add(CONTENT[4:])
    assert again.is_complete
    assert again.finish_or_none() is not None


def test_bytes_beyond_the_size_are_cut_when_resuming(tmp_path: Path) -> None:
    (tmp_path / f"partial-{DIGEST.hex()}-10").write_bytes(CONTENT + b"more")
    file = IncomingFile(tmp_path, 10, DIGEST)
    assert file.is_complete
    whole = file.finish_or_none()
    assert whole is not None
    assert whole.read_bytes() == CONTENT


def test_reading_a_file_for_its_digest_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    assert digest_of(tmp_path / "file", lambda: False) == (10, DIGEST)
    with pytest.raises(InterruptedError):
        digest_of(tmp_path / "file", lambda: True)
