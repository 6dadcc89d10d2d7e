"""The access file: what it may say, what it is refused for, and how it changes under a node."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from metastore.node.access import file as access_file
from metastore.node.access.file import AccessFile, AccessInvalid, read_access_file
from metastore.node.access.permissions import AccessRole, Grants

OWN, OTHER, WEB, JOB, NEW = (letter * 40 for letter in "abcde")
GOOD = f"""
[nodes]
keys = ["{OWN}", "{OTHER}"]

[clients.web]
keys = ["{WEB}"]
role = "read"
prefixes = ["app/", "ünter/"]

[clients.job-2]
keys = ["{JOB}"]
role = "write"
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_file(text: str) -> Path:
        path = tmp_path / "access.toml"
        path.write_text(text)
        return path

    return write_file


def test_a_file_says_who_may_what(write: Callable[[str], Path]) -> None:
    access = read_access_file(write(GOOD))
    assert access.node_keys == {OWN, OTHER}
    assert access.clients == {
        WEB: Grants("web", AccessRole.READ, (b"app/", "ünter/".encode())),
        JOB: Grants("job-2", AccessRole.WRITE),
    }


def test_several_keys_are_one_client_while_its_key_changes(write: Callable[[str], Path]) -> None:
    access = read_access_file(write(GOOD.replace(f'["{WEB}"]', f'["{WEB}", "{NEW}"]')))
    assert [grants.name for grants in access.clients.values()] == ["web", "web", "job-2"]


def test_nodes_alone_are_a_file(write: Callable[[str], Path]) -> None:
    assert read_access_file(write(f'[nodes]\nkeys = ["{OWN}"]')).clients == {}


CLIENT = f"""[nodes]
keys = ["{OWN}"]
[clients.web]
keys = ["{WEB}"]
role = "read"
"""
BAD = [
    ("", "", "'nodes' is missing"),
    ("= =", "line 1", "it is not TOML"),
    (f"{CLIENT}role = 'read'\n", "line 6", "it is not TOML"),
    ("[nodes]", "[nodes]", "'keys' is missing"),
    ("nodes = 1", "[nodes]", "expected a table"),
    (f"{CLIENT}[other]", "", "'other' is unknown; expected nodes, clients"),
    ("[nodes]\nkeys = []", "[nodes].keys", "expected a list of at least one public key"),
    (f'[nodes]\nkeys = "{OWN}"', "[nodes].keys", "expected a list of at least one public key"),
    ('[nodes]\nkeys = ["short"]', "[nodes].keys, number 1", "a public key has 40 characters, this"),
    (
        f'[nodes]\nkeys = ["{OWN}", "{"~" * 40}"]',
        "[nodes].keys, number 2",
        "a public key is written in Z85",
    ),
    ("[nodes]\nkeys = [1]", "[nodes].keys, number 1", "a public key is a text"),
    (f'[nodes]\nkeys = ["{OWN}"]\nsecret = "x"', "[nodes]", "secret keys do not belong here"),
    (f'secret = "x"\n{CLIENT}', "", "secret keys do not belong here"),
    (f'{CLIENT}secret = "x"', "[clients.web]", "secret keys do not belong here"),
    (
        f"{CLIENT}prefix = ['app/']",
        "[clients.web]",
        "'prefix' is unknown; expected keys, role, pre",
    ),
    (CLIENT.replace("role", "roll"), "[clients.web]", "'roll' is unknown"),
    (CLIENT.replace('role = "read"', ""), "[clients.web]", "'role' is missing"),
    (
        CLIENT.replace('"read"', '"root"'),
        "[clients.web].role",
        "expected one of read, write, admin",
    ),
    (CLIENT.replace('"read"', '["read"]'), "[clients.web].role", "expected one of"),
    (CLIENT.replace(f'["{WEB}"]', "[]"), "[clients.web].keys", "expected a list of at least one"),
    (CLIENT.replace(WEB, OWN), "[clients.web].keys, number 1", "stands in [nodes] already"),
    (
        f'{CLIENT}[clients.job]\nkeys = ["{WEB}"]\nrole = "read"',
        "[clients.job].keys, number 1",
        "the same key stands in [clients.web] already",
    ),
    (f"{CLIENT}prefixes = []", "[clients.web].prefixes", "leave it out to allow every key"),
    (
        f"{CLIENT}prefixes = 'app/'",
        "[clients.web].prefixes",
        "expected a list of at least one text",
    ),
    (f"{CLIENT}prefixes = ['a', '']", "[clients.web].prefixes", "a prefix is a text of 1 to 1024"),
    (f"{CLIENT}prefixes = ['{'a' * 1025}']", "[clients.web].prefixes", "a prefix is a text of 1"),
    (
        CLIENT.replace('"read"', '"admin"') + "prefixes = ['a']",
        "[clients.web].prefixes",
        "an admin is not limited",
    ),
    (CLIENT.replace("clients.web", 'clients."we b"'), "[clients]", "a name has 1 to 32 letters"),
    (CLIENT.replace("clients.web", "clients"), "[clients.keys]", "expected a table"),
]


@pytest.mark.parametrize(("text", "place", "expected"), BAD)
def test_what_is_wrong_is_said_with_its_place(
    write: Callable[[str], Path], text: str, place: str, expected: str
) -> None:
    path = write(text)
    with pytest.raises(AccessInvalid) as refused:
        read_access_file(path)
    assert refused.value.place == place
    assert expected in refused.value.expected
    assert str(path) in str(refused.value)


def test_no_text_quotes_what_might_be_a_secret(write: Callable[[str], Path]) -> None:
    secret = "s" * 40
    for text in (
        f'[nodes]\nsecret = "{secret}"',
        f'[nodes]\nkeys = ["{secret}x"]',
        f'[nodes]\n"{secret}" = 1',
        f"[nodes]\nkeys = {secret}",
        f'[clients."{secret}"]\n[nodes]\nkeys = ["{OWN}"]',
    ):
        with pytest.raises(AccessInvalid) as refused:
            read_access_file(write(text))
        assert secret not in str(refused.value)


@pytest.mark.parametrize("mode", [0o602, 0o666])
def test_a_file_that_everybody_may_write_is_refused(
    write: Callable[[str], Path], mode: int
) -> None:
    path = write(GOOD)
    path.chmod(mode)
    with pytest.raises(AccessInvalid, match="chmod o-w"):
        read_access_file(path)
    path.chmod(0o644)
    read_access_file(path)


def test_only_a_small_readable_file_is_read(
    tmp_path: Path, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AccessInvalid, match="No such file"):
        read_access_file(tmp_path / "nothing")
    with pytest.raises(AccessInvalid):
        read_access_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(AccessInvalid, match="not a file"):
        read_access_file(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(AccessInvalid, match="not TOML"):
        read_access_file(tmp_path / "bytes")
    monkeypatch.setattr(access_file, "ACCESS_FILE_BYTES_MAX", len(GOOD.encode()) - 1)
    with pytest.raises(AccessInvalid, match="more than"):
        read_access_file(write(GOOD))


def test_a_node_whose_own_key_is_missing_is_told_what_to_do(write: Callable[[str], Path]) -> None:
    with pytest.raises(AccessInvalid) as refused:
        AccessFile(write(GOOD), NEW)
    assert refused.value.place == "[nodes].keys"
    assert f'add "{NEW}" to it, on every node' in refused.value.expected


# While the node runs


def replace(path: Path, text: str) -> None:
    """As an operator should: a complete file takes the place of the old one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_a_file_that_did_not_change_is_not_read_again(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    access = AccessFile(write(GOOD), OWN)
    monkeypatch.setattr(access_file, "_read", lambda path: pytest.fail("it was read"))
    assert not access.reload_if_changed()


def test_a_changed_file_is_in_force_at_once(write: Callable[[str], Path]) -> None:
    path = write(GOOD)
    access = AccessFile(path, OWN)
    before = access.current
    replace(path, GOOD.replace('"write"', '"read"'))
    assert access.reload_if_changed()
    assert access.current.clients[JOB].role is AccessRole.READ
    assert before.clients[JOB].role is AccessRole.WRITE
    assert not access.reload_if_changed()


def test_a_file_written_in_place_is_noticed_too(write: Callable[[str], Path]) -> None:
    path = write(GOOD)
    access = AccessFile(path, OWN)
    inode = path.stat().st_ino
    path.write_text(f"{GOOD}# longer\n")
    assert path.stat().st_ino == inode
    assert not access.reload_if_changed()  # it says the same
    path.write_text(GOOD.replace('"write"', '"admin"'))
    assert access.reload_if_changed()


@pytest.mark.parametrize("which", ["mtime", "inode"])
def test_time_or_inode_alone_tells_a_change(write: Callable[[str], Path], which: str) -> None:
    path = write(GOOD)
    access = AccessFile(path, OWN)
    old = path.stat()
    text = GOOD.replace("app/", "bpp/")
    if which == "mtime":
        path.write_text(text)
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns + 1_000_000_000))
    else:
        replace(path, text)
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size
    assert access.reload_if_changed()


def test_a_bad_file_keeps_the_old_one_in_force_and_is_told_once(
    write: Callable[[str], Path],
) -> None:
    path = write(GOOD)
    access = AccessFile(path, OWN)
    replace(path, GOOD.replace('"write"', '"wite"'))
    with capture_logs() as lines:
        assert not access.reload_if_changed()
        assert not access.reload_if_changed()
        replace(path, GOOD.replace('"write"', '"wite"'))
        assert not access.reload_if_changed()
    assert access.current.clients[JOB].role is AccessRole.WRITE
    assert access.problem == (
        f"access file {path}: [clients.job-2].role: expected one of read, write, admin; "
        "what it said before stays in force"
    )
    assert [line["problem"] for line in lines] == [access.problem]
    replace(path, GOOD)
    assert not access.reload_if_changed()
    assert access.problem == ""


def test_a_file_without_the_nodes_own_key_is_a_bad_file(write: Callable[[str], Path]) -> None:
    path = write(GOOD)
    access = AccessFile(path, OWN)
    replace(path, GOOD.replace(f'"{OWN}", ', ""))
    assert not access.reload_if_changed()
    assert OWN in access.current.node_keys
    assert "own public key is missing" in access.problem


@pytest.mark.parametrize("is_directory", [False, True])
def test_a_file_that_comes_back_just_as_it_was_ends_the_problem(
    write: Callable[[str], Path], tmp_path: Path, is_directory: bool
) -> None:
    path = write(GOOD)
    access = AccessFile(path, OWN)
    path.rename(tmp_path / "aside")
    if is_directory:
        path.mkdir()
    with capture_logs() as lines:
        assert not access.reload_if_changed()
        assert not access.reload_if_changed()
    assert len(lines) == 1
    assert access.problem
    assert OWN in access.current.node_keys
    if is_directory:
        path.rmdir()
    (tmp_path / "aside").rename(path)
    access.reload_if_changed()
    assert access.problem == ""
