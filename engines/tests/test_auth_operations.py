"""What happens to users and roles: etcd's answers, and which of them make a new auth revision.

The table was taken from etcd 3.5.1, in this order, with its auth revision after each step.
"""

from typing import Any

import pytest
from auth_machine import DISABLE, ENABLE, ROOT_IS_THERE, SECRET, done, guarded, revision_of
from state_machine import Machine

from metastore.engines.auth import tables
from metastore.engines.auth.operations import NO_ROOM
from metastore.transport import auth_ops
from metastore.transport.auth_ops import AuthAction, auth
from metastore.transport.schema import Code, Operation, put

BAD = int(Code.INVALID_ARGUMENT)
FAILED = int(Code.FAILED_PRECONDITION)
OK = (0, 1)

_STEPS: list[tuple[tuple[Any, ...], Any, int]] = [
    ((AuthAction.ENABLE, SECRET), (FAILED, auth_ops.ROOT_NOT_FOUND), 1),
    ((AuthAction.USER_ADD, "", b"x"), (BAD, auth_ops.USER_EMPTY), 1),
    ((AuthAction.USER_ADD, "root", b"r"), OK, 2),
    ((AuthAction.USER_ADD, "root", b"r"), (FAILED, auth_ops.USER_EXISTS), 2),
    ((AuthAction.ENABLE, SECRET), (FAILED, auth_ops.ROOT_ROLE_NOT_FOUND), 2),
    ((AuthAction.ROLE_GET, "root"), (FAILED, auth_ops.ROLE_NOT_FOUND), 2),
    ((AuthAction.USER_GRANT, "root", "root"), OK, 3),
    ((AuthAction.USER_GRANT, "root", "root"), OK, 3),
    ((AuthAction.ROLE_LIST,), (0, 1, ()), 3),
    ((AuthAction.ROLE_ADD, ""), (BAD, auth_ops.ROLE_EMPTY), 3),
    ((AuthAction.ROLE_ADD, "root"), OK, 4),
    ((AuthAction.ROLE_DELETE, "root"), OK, 5),
    ((AuthAction.USER_GET, "root"), (0, 1, ()), 5),
    ((AuthAction.USER_GRANT, "root", "root"), OK, 6),
    ((AuthAction.ROLE_ADD, "r"), OK, 7),
    ((AuthAction.ROLE_ADD, "r"), (FAILED, auth_ops.ROLE_EXISTS), 7),
    ((AuthAction.ROLE_GRANT, "zz", 0, b"a", b""), (FAILED, auth_ops.ROLE_NOT_FOUND), 7),
    ((AuthAction.ROLE_GRANT, "r", 0, b"", b""), OK, 8),
    ((AuthAction.ROLE_REVOKE, "r", b"", b""), OK, 9),
    ((AuthAction.ROLE_GRANT, "r", 0, b"y", b"x"), OK, 10),
    ((AuthAction.ROLE_GRANT, "r", 0, b"y", b""), OK, 11),
    ((AuthAction.ROLE_GRANT, "r", 2, b"a", b"c"), OK, 12),
    (
        (AuthAction.ROLE_GET, "r"),
        (0, 1, ((2, b"a", b"c"), (0, b"y", b""), (0, b"y", b"x"))),
        12,
    ),
    ((AuthAction.ROLE_GRANT, "r", 1, b"y", b"x"), OK, 13),
    ((AuthAction.ROLE_GRANT, "r", 1, b"y", b"x"), OK, 14),
    (
        (AuthAction.ROLE_GET, "r"),
        (0, 1, ((2, b"a", b"c"), (0, b"y", b""), (1, b"y", b"x"))),
        14,
    ),
    ((AuthAction.ROLE_REVOKE, "r", b"y", b"q"), (FAILED, auth_ops.PERMISSION_NOT_GRANTED), 14),
    ((AuthAction.ROLE_REVOKE, "zz", b"y", b""), (FAILED, auth_ops.ROLE_NOT_FOUND), 14),
    ((AuthAction.USER_ADD, "u", b"u"), OK, 15),
    ((AuthAction.USER_ADD, "np", b""), OK, 16),
    ((AuthAction.USER_GRANT, "u", "zz"), (FAILED, auth_ops.ROLE_NOT_FOUND), 16),
    ((AuthAction.USER_GRANT, "zz", "r"), (FAILED, auth_ops.USER_NOT_FOUND), 16),
    ((AuthAction.USER_GRANT, "u", "r"), OK, 17),
    ((AuthAction.USER_GRANT, "u", "root"), OK, 18),
    ((AuthAction.USER_GET, "u"), (0, 1, ("r", "root")), 18),
    ((AuthAction.USER_REVOKE, "np", "r"), (FAILED, auth_ops.ROLE_NOT_GRANTED), 18),
    ((AuthAction.USER_REVOKE, "np", "zz"), (FAILED, auth_ops.ROLE_NOT_GRANTED), 18),
    ((AuthAction.USER_REVOKE, "zz", "zz"), (FAILED, auth_ops.USER_NOT_FOUND), 18),
    ((AuthAction.USER_REVOKE, "u", "root"), OK, 19),
    ((AuthAction.USER_GET, "u"), (0, 1, ("r",)), 19),
    ((AuthAction.USER_CHANGE_PASSWORD, "zz", b""), (FAILED, auth_ops.USER_NOT_FOUND), 19),
    ((AuthAction.USER_CHANGE_PASSWORD, "", b""), (FAILED, auth_ops.USER_NOT_FOUND), 19),
    ((AuthAction.USER_CHANGE_PASSWORD, "u", b"n"), OK, 20),
    ((AuthAction.USER_DELETE, "zz"), (FAILED, auth_ops.USER_NOT_FOUND), 20),
    ((AuthAction.ROLE_DELETE, "zz"), (FAILED, auth_ops.ROLE_NOT_FOUND), 20),
    ((AuthAction.ROLE_GET, ""), (FAILED, auth_ops.ROLE_NOT_FOUND), 20),
    ((AuthAction.USER_GET, ""), (FAILED, auth_ops.USER_NOT_FOUND), 20),
    ((AuthAction.DISABLE,), OK, 20),
    ((AuthAction.STATUS,), (0, 1, False, 20), 20),
    ((AuthAction.ENABLE, SECRET), OK, 20),
    ((AuthAction.ENABLE, SECRET), OK, 20),
    ((AuthAction.STATUS,), (0, 1, True, 20), 20),
    ((AuthAction.USER_DELETE, "root"), (BAD, auth_ops.INVALID_MANAGEMENT), 20),
    ((AuthAction.USER_REVOKE, "root", "root"), (BAD, auth_ops.INVALID_MANAGEMENT), 20),
    ((AuthAction.ROLE_DELETE, "root"), (BAD, auth_ops.INVALID_MANAGEMENT), 20),
    ((AuthAction.USER_GET, "root"), (0, 1, ("root",)), 20),
    ((AuthAction.USER_LIST,), (0, 1, ("np", "root", "u")), 20),
    ((AuthAction.ROLE_LIST,), (0, 1, ("r",)), 20),
    ((AuthAction.ROLE_DELETE, "r"), OK, 21),
    ((AuthAction.USER_GET, "u"), (0, 1, ()), 21),
    ((AuthAction.USER_DELETE, "u"), OK, 22),
    ((AuthAction.DISABLE,), OK, 23),
    ((AuthAction.USER_REVOKE, "root", "root"), OK, 24),
    ((AuthAction.USER_DELETE, "root"), OK, 25),
]


def test_every_action_answers_as_etcd_and_counts_as_there() -> None:
    machine = Machine()
    for number, (action, expected, revision) in enumerate(_STEPS):
        assert machine.one(*auth(*action)) == expected, (number, action)
        assert revision_of(machine) == revision, (number, action)
        machine.reload()


def credentials(machine: Machine, user: str) -> Any:
    return machine.read(*auth(AuthAction.CREDENTIALS, user))


def test_credentials_are_what_a_password_and_a_token_are_checked_with() -> None:
    machine = Machine()
    assert credentials(machine, "root") == (0, 1, False, 1, b"", 0, b"")
    assert done(*machine.run(*ROOT_IS_THERE))
    assert credentials(machine, "root") == (0, 1, False, 3, b"hash", 2, b"")
    machine.run(ENABLE)
    assert credentials(machine, "root") == (0, 1, True, 3, b"hash", 2, SECRET)
    assert credentials(machine, "nobody") == (0, 1, True, 3, b"", 0, SECRET)


def test_a_new_password_has_a_new_revision_and_nothing_else_does() -> None:
    machine = guarded()
    for operation, password_revision in (
        (auth(AuthAction.ROLE_ADD, "r"), 2),
        (auth(AuthAction.USER_GRANT, "root", "r"), 2),
        (auth(AuthAction.USER_REVOKE, "root", "r"), 2),
        (auth(AuthAction.USER_CHANGE_PASSWORD, "root", b"hash"), 7),
        (auth(AuthAction.USER_ADD, "u", b""), 7),
    ):
        assert done(machine.one(*operation))
        assert credentials(machine, "root")[5] == password_revision
    assert machine.read(*auth(AuthAction.USER_GET, "root"))[2] == ("root",)


def test_a_user_that_comes_back_is_another_one() -> None:
    machine = guarded()
    machine.run(auth(AuthAction.USER_ADD, "u", b"p"))
    before = credentials(machine, "u")[5]
    machine.run(auth(AuthAction.USER_DELETE, "u"), auth(AuthAction.USER_ADD, "u", b"p"))
    assert credentials(machine, "u")[5] > before


def test_the_first_secret_stays_as_long_as_auth_is_on() -> None:
    machine = guarded()
    another = b"x" * 32
    machine.run(auth(AuthAction.ENABLE, another))
    assert credentials(machine, "root")[6] == SECRET
    machine.run(DISABLE)
    assert credentials(machine, "root")[6] == b""
    machine.run(auth(AuthAction.ENABLE, another))
    assert credentials(machine, "root")[6] == another


def test_the_revision_of_the_keys_is_told_and_does_not_change() -> None:
    machine = Machine()
    machine.run(put(b"k", b"v"))
    assert machine.one(*auth(AuthAction.USER_ADD, "u", b"")) == (0, 2)
    assert machine.state.keys.revision == 2


@pytest.mark.parametrize(
    "operation",
    [
        auth(AuthAction.USER_ADD, "u" * 99, b""),
        auth(AuthAction.ROLE_ADD, "r" * 99),
        auth(AuthAction.ROLE_GRANT, "role", 2, b"k" * 99, b""),
        auth(AuthAction.USER_CHANGE_PASSWORD, "user", b"p" * 99),
        auth(AuthAction.USER_GRANT, "user", "role"),
    ],
    ids=["a user", "a role", "a permission", "a password", "a role of a user"],
)
def test_what_would_take_too_much_room_is_refused_and_leaves_nothing(
    operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    machine.run(auth(AuthAction.USER_ADD, "user", b""), auth(AuthAction.ROLE_ADD, "role"))
    before = list(machine.state.all_facts())
    monkeypatch.setattr(tables, "AUTH_BYTES_MAX", 36)
    assert machine.one(*operation) == (Code.RESOURCE_EXHAUSTED, NO_ROOM)
    assert list(machine.state.all_facts()) == before
    assert done(machine.one(*auth(AuthAction.USER_DELETE, "user")))
    assert done(machine.one(*auth(AuthAction.ROLE_ADD, "r")))


def test_room_that_was_given_back_can_be_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "AUTH_BYTES_MAX", 60)
    machine = Machine()
    for _ in range(20):
        machine.reload()
        assert done(machine.one(*auth(AuthAction.ROLE_ADD, "r")))
        assert done(machine.one(*auth(AuthAction.ROLE_GRANT, "r", 0, b"k" * 20, b"")))
        assert done(machine.one(*auth(AuthAction.ROLE_REVOKE, "r", b"k" * 20, b"")))
        assert done(machine.one(*auth(AuthAction.ROLE_DELETE, "r")))


def test_what_is_loaded_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "AUTH_BYTES_MAX", 60)
    machine = Machine()
    machine.run(auth(AuthAction.ROLE_ADD, "r" * 40))
    machine.reload()
    assert machine.one(*auth(AuthAction.ROLE_ADD, "x")) == (Code.RESOURCE_EXHAUSTED, NO_ROOM)


def test_what_makes_room_is_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = guarded()
    machine.run(
        auth(AuthAction.ROLE_ADD, "r"),
        auth(AuthAction.ROLE_GRANT, "r", 0, b"k", b""),
        auth(AuthAction.USER_ADD, "u", b""),
        auth(AuthAction.USER_GRANT, "u", "r"),
    )
    monkeypatch.setattr(tables, "AUTH_BYTES_MAX", 0)
    assert done(machine.one(*auth(AuthAction.ROLE_REVOKE, "r", b"k", b"")))
    assert machine.read(*auth(AuthAction.ROLE_GET, "r"))[2] == ()
    assert done(machine.one(*auth(AuthAction.ROLE_DELETE, "r")))
    assert machine.read(*auth(AuthAction.USER_GET, "u"))[2] == ()


def test_the_roles_of_a_user_are_sorted() -> None:
    machine = guarded()
    for role in ("z", "a", "m"):
        assert done(*machine.run(auth(AuthAction.ROLE_ADD, role)))
        assert done(*machine.run(auth(AuthAction.USER_GRANT, "root", role)))
    assert machine.read(*auth(AuthAction.USER_GET, "root"))[2] == ("a", "m", "root", "z")


def test_one_role_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROLE_BYTES_MAX", 30)
    machine = Machine()
    machine.run(auth(AuthAction.ROLE_ADD, "r"))
    assert done(machine.one(*auth(AuthAction.ROLE_GRANT, "r", 0, b"k" * 15, b"")))
    refused = machine.one(*auth(AuthAction.ROLE_GRANT, "r", 0, b"l" * 15, b""))
    assert refused == (Code.RESOURCE_EXHAUSTED, NO_ROOM)
