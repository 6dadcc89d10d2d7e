"""Key files, and that a secret key is never shown."""

import os
import traceback
from pathlib import Path

import pytest

from metastore.transport.errors import KeyFileInvalid, KeyInvalid
from metastore.transport.security import (
    KEY_FILE_BYTES_MAX,
    CurveClient,
    CurveServer,
    check_public_key,
    new_keys,
    read_key_file,
    write_key_file,
)

KEYS = new_keys()


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def test_a_key_file_is_for_its_owner_alone_and_gives_the_keys_back(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    before = os.umask(0)
    try:
        write_key_file(path, KEYS)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path) == KEYS


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    write_key_file(path, KEYS)
    with pytest.raises(KeyFileInvalid, match="exists already"):
        write_key_file(path, new_keys())
    assert read_key_file(path) == KEYS


def test_a_key_file_in_a_missing_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(KeyFileInvalid, match="No such file"):
        write_key_file(tmp_path / "missing" / "node.key", KEYS)
    with pytest.raises(KeyFileInvalid, match="No such file"):
        read_key_file(tmp_path / "missing")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_key_file_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.key"
    write_key_file(path, KEYS)
    path.chmod(mode)
    with pytest.raises(KeyFileInvalid, match=f"mode 0{mode:o}.*chmod 600 {path}"):
        read_key_file(path)


PUBLIC, SECRET = KEYS
OTHER_SECRET = new_keys().secret
BAD_FILES = {
    "empty": "",
    "not toml": f"secret {SECRET}",
    "secret without quotes": f'public = "{PUBLIC}"\nsecret = {SECRET}',
    "not utf-8": b"\xff" + SECRET.encode(),
    "secret alone": f'secret = "{SECRET}"',
    "public alone": f'public = "{PUBLIC}"',
    "another field": f'public = "{PUBLIC}"\nsecret = "{SECRET}"\n"{SECRET}" = 1',
    "secret too short": f'public = "{PUBLIC}"\nsecret = "{SECRET[:-1]}"',
    "secret no z85": f'public = "{PUBLIC}"\nsecret = "{SECRET[:-1]}~"',
    "public no text": f'public = 5\nsecret = "{SECRET}"',
    "swapped": f'public = "{SECRET}"\nsecret = "{PUBLIC}"',
    "not a pair": f'public = "{PUBLIC}"\nsecret = "{OTHER_SECRET}"',
    "key twice": f'secret = "{SECRET}"\nsecret = "{SECRET}"',
    "deep": "a = " + "[" * 5000,
}


@pytest.mark.parametrize("text", BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_key_file_is_refused_without_a_word_of_its_secret(
    tmp_path: Path, text: str | bytes
) -> None:
    path = write(tmp_path / "node.key", text)
    with pytest.raises(KeyFileInvalid) as caught:
        read_key_file(path)
    assert str(path) in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    context = caught.value.__context__
    for secret in (SECRET, OTHER_SECRET, PUBLIC, SECRET[:-1]):
        assert secret not in shown
        assert context is None or secret not in repr((context, vars(context)))


def test_what_is_no_small_file_is_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileInvalid, match="not a file"):
        read_key_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileInvalid, match="not a file"):  # and does not wait for its writer
        read_key_file(tmp_path / "pipe")
    big = write(tmp_path / "big", b"#" * (KEY_FILE_BYTES_MAX + 1))
    with pytest.raises(KeyFileInvalid, match="too large"):
        read_key_file(big)


def test_a_secret_key_is_in_no_repr() -> None:
    holders = (KEYS, CurveServer(KEYS, "peer"), CurveClient(KEYS, PUBLIC), [KEYS], {"keys": KEYS})
    for holder in holders:
        for shown in (repr(holder), str(holder), f"{holder}", f"{holder!r}"):
            assert SECRET not in shown
            assert PUBLIC in shown


def test_new_keys_are_a_pair_and_differ_each_time(tmp_path: Path) -> None:
    assert new_keys() != new_keys()
    check_public_key(new_keys().public)


@pytest.mark.parametrize(
    "text",
    ["", "a" * 39, "a" * 41, "a" * 39 + "~", "#" * 40, "\N{SNOWMAN}" * 40, 5, None, b"a" * 40],
)
def test_what_is_no_key_is_refused_and_not_quoted(text: object) -> None:
    with pytest.raises(KeyInvalid) as caught:
        check_public_key(text)
    assert not text or str(text) not in str(caught.value).replace("40 characters", "")
