"""Users and roles with every engine: they last, and go wherever the state goes."""

from pathlib import Path
from typing import Any

import msgpack
import pytest
from auth_machine import ENABLE, ROOT_IS_THERE, SECRET
from engines_under_test import OPEN, hash_of, install, read, run, save

from metastore.engines.auth import tables
from metastore.engines.auth.guard import DENIED, OLD_REVISION
from metastore.engines.contract import StorageDamaged
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.state import State
from metastore.transport.auth_ops import AuthAction, as_user, auth
from metastore.transport.schema import Operation, put, range_

REVISION = 7


def in_name(user: str, revision: int = REVISION) -> Operation:
    return as_user(user, revision)


@pytest.fixture
def peopled(open_store: OPEN) -> Any:
    """root, and u, who may write k; auth is on."""
    store = open_store("peopled")
    run(store, put(b"k", b"v"), *ROOT_IS_THERE)
    run(
        store,
        auth(AuthAction.USER_ADD, "u", b"of u"),
        auth(AuthAction.ROLE_ADD, "r"),
        auth(AuthAction.ROLE_GRANT, "r", 1, b"k", b""),
        auth(AuthAction.USER_GRANT, "u", "r"),
        ENABLE,
    )
    return store


def check_peopled(store: Any) -> None:
    status = read(store, auth(AuthAction.STATUS))
    assert status[2:] == (True, REVISION)
    assert read(store, auth(AuthAction.CREDENTIALS, "u"))[2:] == (
        *(True, REVISION),
        *(b"of u", 4, SECRET),
    )
    assert read(store, auth(AuthAction.USER_LIST))[2] == ("root", "u")
    assert read(store, auth(AuthAction.ROLE_GET, "r"))[2] == ((1, b"k", b""),)
    assert run(store, in_name("u"), range_(b"k")) == (DENIED,)
    assert run(store, in_name("u", REVISION - 1), put(b"k", b"w")) == (OLD_REVISION,)
    assert run(store, in_name("u"), put(b"k", b"w"))[0][0] == 0
    run(store, auth(AuthAction.ROLE_REVOKE, "r", b"k", b""))
    assert run(store, in_name("u", REVISION + 1), put(b"k", b"w")) == (DENIED,)


def test_users_and_roles_outlast_a_restart(open_store: OPEN, peopled: Any) -> None:
    save(peopled)
    check_peopled(open_store("peopled"))


def test_what_was_deleted_stays_so(open_store: OPEN, peopled: Any) -> None:
    save(peopled)
    run(peopled, auth(AuthAction.DISABLE), auth(AuthAction.USER_DELETE, "u"))
    run(peopled, auth(AuthAction.ROLE_DELETE, "r"))
    save(peopled)
    store = open_store("peopled")
    assert read(store, auth(AuthAction.STATUS))[2:] == (False, REVISION + 3)
    assert read(store, auth(AuthAction.USER_LIST))[2] == ("root",)
    assert read(store, auth(AuthAction.ROLE_LIST))[2] == ()


def test_users_and_roles_come_with_an_installed_snapshot(
    open_store: OPEN, peopled: Any, tmp_path: Path
) -> None:
    target = open_store("target")
    run(target, auth(AuthAction.USER_ADD, "of another history", b""))
    install(peopled, target, tmp_path / "received")
    check_peopled(target)
    check_peopled(peopled)


def test_a_hash_is_of_keys_only_as_etcds(peopled: Any) -> None:
    before = hash_of(peopled)
    run(peopled, auth(AuthAction.USER_ADD, "x", b""))
    assert hash_of(peopled) == before


# Damage


def fact(name: bytes, *value: object) -> tuple[bytes, bytes]:
    return name, msgpack.packb(value)


@pytest.mark.parametrize(
    "damaged",
    [
        fact(b"auth/"),
        fact(b"auth/other", 1),
        fact(tables.SCALARS_FACT, 1, True),
        fact(tables.SCALARS_FACT, 1, 1, b""),
        fact(tables.USER_FACT + b"u", b"", 1),
        fact(tables.USER_FACT + b"u", b"", 1, "r"),
        fact(tables.USER_FACT + b"u", b"", 1, (b"r",)),
        fact(tables.USER_FACT + b"\xff", b"", 1, ()),
        fact(tables.ROLE_FACT + b"r", (0, b"k")),
        fact(tables.ROLE_FACT + b"r", (3, b"k", b"")),
        fact(tables.ROLE_FACT + b"r", 7),
        (tables.ROLE_FACT + b"r", b"\xc1"),
    ],
)
def test_a_fact_that_is_no_user_or_role_is_damage(damaged: tuple[bytes, bytes]) -> None:
    with pytest.raises(StorageDamaged, match="no user or role"):
        State(MemoryRecords(), [damaged])


def test_nothing_is_kept_where_nothing_was_ever_said() -> None:
    names = [name for name, _ in State(MemoryRecords()).all_facts()]
    assert not [name for name in names if name.startswith(tables.AUTH_FACT)]
