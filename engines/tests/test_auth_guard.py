"""Who may do what: etcd's decisions, for a request as a whole and before any of it is done."""

import pytest
from auth_machine import (
    DISABLE,
    ENABLE,
    FOREIGN,
    OWN,
    done,
    one_named,
    peopled,
    revision_of,
)
from state_machine import Machine

from metastore.engines.auth.guard import DENIED, NO_NAME, OLD_REVISION
from metastore.transport import schema
from metastore.transport.auth_ops import AuthAction, Need, as_user, auth
from metastore.transport.schema import Code, Op, Operation, compare, delete_range, put, range_, txn


@pytest.fixture
def machine() -> Machine:
    return peopled()


ALLOWED: dict[str, Operation] = {
    "read one key": range_(b"a"),
    "read across adjacent permissions": range_(b"a", b"e"),
    "read an empty range inside": range_(b"b", b"aa"),
    "filtered read": schema.filtered_range(range_(b"p", b"q")),
    "write": put(b"w", b"2"),
    "write with a look at what was there": put(b"p", b"2", prev_kv=True),
    "write and keep the value": put(b"w", b"", ignore_value=True),
    "write under a lease whose keys may be written": put(b"p", b"2", lease=OWN),
    "delete": delete_range(b"w"),
    "delete with a look": delete_range(b"p", b"q", prev_kv=True),
    "empty transaction": txn([]),
    "transaction": txn(
        [compare(0, 0, b"a", 0), compare(0, 0, b"p", 0, b"q")],
        [put(b"w", b"2"), range_(b"a"), txn([], [delete_range(b"p", prev_kv=True)])],
        [put(b"p", b"2", prev_kv=True, lease=OWN)],
    ),
    "revoke a lease whose keys may be written": (Op.LEASE_REVOKE, OWN),
    "time to live": (Op.LEASE_TIME_TO_LIVE, FOREIGN, False),
    "keys of no lease": (Op.LEASE_TIME_TO_LIVE, 99, True),
    "leases": (Op.LEASES,),
    "compact": (Op.COMPACT, 2, False),
    "oneself": auth(AuthAction.USER_GET, "u"),
    "an own role": auth(AuthAction.ROLE_GET, "u"),
    "check: read": auth(AuthAction.CHECK, int(Need.READ), b"a", b"e"),
    "check: write": auth(AuthAction.CHECK, int(Need.WRITE), b"w", b""),
}
FOR_ANYBODY: dict[str, Operation] = {
    "grant a lease": (Op.LEASE_GRANT, 0, 60),
    "keep a lease": (Op.LEASE_KEEP_ALIVE, FOREIGN),
    "alarms": (Op.ALARMS,),
    "open a session": (Op.SESSION_OPEN, 9),
    "close a session": (Op.SESSION_CLOSE, 9),
}
DENIED_TO_U: dict[str, Operation] = {
    "read another key": range_(b"z"),
    "read what may be written": range_(b"w"),
    "read beyond": range_(b"a", b"e\0"),
    "read from before": range_(b"Z", b"b"),
    "read to the end": range_(b"a", b"\0"),
    "read everything": range_(b"\0", b"\0"),
    "read an empty range outside": range_(b"e", b"a"),
    "filtered read": schema.filtered_range(range_(b"w")),
    "write what may be read": put(b"a", b"2"),
    "write with a look": put(b"w", b"2", prev_kv=True),
    "write under a lease with a foreign key": put(b"p", b"2", lease=FOREIGN),
    "delete what may be read": delete_range(b"a"),
    "delete with a look": delete_range(b"w", prev_kv=True),
    "delete beyond": delete_range(b"p", b"q\0"),
    "comparison": txn([compare(0, 0, b"w", 0)]),
    "comparison of a range": txn([compare(0, 0, b"a", 0, b"f")]),
    "the branch taken": txn([], [put(b"z", b"2")]),
    "the branch not taken": txn([], [], [range_(b"z")]),
    "nested comparison": txn([], [txn([compare(0, 0, b"z", 0)])]),
    "nested": txn([], [txn([], [txn([], [], [put(b"z", b"2")])])]),
    "transaction with a look": txn([], [put(b"w", b"2", prev_kv=True)]),
    "transaction with a delete with a look": txn([], [delete_range(b"w", prev_kv=True)]),
    "transaction with a foreign lease": txn([], [put(b"p", b"2", lease=FOREIGN)]),
    "revoke a lease with a foreign key": (Op.LEASE_REVOKE, FOREIGN),
    "keys of a lease, one of them unreadable": (Op.LEASE_TIME_TO_LIVE, OWN, True),
    "hash": (Op.HASH, 0),
    "change an alarm": (Op.ALARM_CHANGE, 1, True),
    "status": auth(AuthAction.STATUS),
    "enable": ENABLE,
    "disable": DISABLE,
    "add a user": auth(AuthAction.USER_ADD, "x", b""),
    "delete a user": auth(AuthAction.USER_DELETE, "u"),
    "change the own password": auth(AuthAction.USER_CHANGE_PASSWORD, "u", b""),
    "take the role root": auth(AuthAction.USER_GRANT, "u", "root"),
    "give a role back": auth(AuthAction.USER_REVOKE, "u", "u"),
    "look at another user": auth(AuthAction.USER_GET, "root"),
    "look at no user": auth(AuthAction.USER_GET, "x"),
    "list users": auth(AuthAction.USER_LIST),
    "add a role": auth(AuthAction.ROLE_ADD, "x"),
    "delete a role": auth(AuthAction.ROLE_DELETE, "u"),
    "grant a permission": auth(AuthAction.ROLE_GRANT, "u", 2, b"", b"\0"),
    "revoke a permission": auth(AuthAction.ROLE_REVOKE, "u", b"w", b""),
    "look at another role": auth(AuthAction.ROLE_GET, "root"),
    "list roles": auth(AuthAction.ROLE_LIST),
    "check: read": auth(AuthAction.CHECK, int(Need.READ), b"w", b""),
    "check: write": auth(AuthAction.CHECK, int(Need.WRITE), b"a", b""),
    "check: admin": auth(AuthAction.CHECK, int(Need.ADMIN), b"a", b""),
}


@pytest.mark.parametrize("name", [*ALLOWED, *FOR_ANYBODY])
def test_what_a_user_may_do_is_done(machine: Machine, name: str) -> None:
    assert done(one_named(machine, "u", (ALLOWED | FOR_ANYBODY)[name]))


@pytest.mark.parametrize("name", DENIED_TO_U)
def test_what_a_user_may_not_do_changes_nothing(machine: Machine, name: str) -> None:
    before = list(machine.state.all_facts())
    assert one_named(machine, "u", DENIED_TO_U[name]) == DENIED
    assert list(machine.state.all_facts()) == before


@pytest.mark.parametrize("name", DENIED_TO_U)
def test_root_may_do_everything(machine: Machine, name: str) -> None:
    result = one_named(machine, "root", DENIED_TO_U[name])
    assert result not in (DENIED, NO_NAME, OLD_REVISION)
    assert result[0] != Code.PERMISSION_DENIED


@pytest.mark.parametrize("name", [*ALLOWED, *DENIED_TO_U])
def test_without_a_name_next_to_nothing_is_done(machine: Machine, name: str) -> None:
    operation = (ALLOWED | DENIED_TO_U)[name]
    is_open = name in ("empty transaction", "time to live")
    result = one_named(machine, "", operation)
    assert done(result) if is_open else result == NO_NAME


@pytest.mark.parametrize("name", [*ALLOWED, *DENIED_TO_U])
def test_a_user_that_is_not_there_may_do_as_little(machine: Machine, name: str) -> None:
    operation = (ALLOWED | DENIED_TO_U)[name]
    is_open = name in ("empty transaction", "time to live")
    result = one_named(machine, "gone", operation)
    assert done(result) if is_open else result == DENIED


@pytest.mark.parametrize("name", FOR_ANYBODY)
def test_what_touches_no_key_needs_no_name(machine: Machine, name: str) -> None:
    assert done(one_named(machine, "", FOR_ANYBODY[name]))


@pytest.mark.parametrize("user", ["", "u", "gone"])
def test_a_lease_without_keys_may_be_ended_by_anybody(machine: Machine, user: str) -> None:
    machine.run((Op.LEASE_GRANT, 9, 60))
    assert done(one_named(machine, user, (Op.LEASE_REVOKE, 9)))


def test_the_keys_of_a_lease_are_for_who_may_read_them(machine: Machine) -> None:
    machine.run((Op.LEASE_GRANT, 9, 60), put(b"p9", b"", lease=9))
    assert one_named(machine, "u", (Op.LEASE_TIME_TO_LIVE, 9, True))[4] == (b"p9",)


def test_a_request_without_a_name_is_not_judged(machine: Machine) -> None:
    assert done(*machine.run(put(b"z", b"2"), range_(b"z"), auth(AuthAction.USER_LIST)))


def test_while_auth_is_off_everybody_may_do_everything(machine: Machine) -> None:
    machine.run(DISABLE)
    for user in ("", "u", "gone"):
        for operation in (put(b"z", b"2"), auth(AuthAction.USER_LIST)):
            assert done(*machine.run(as_user(user, revision_of(machine)), operation))


def test_who_has_not_heard_that_auth_is_off_is_told_to_look(machine: Machine) -> None:
    before = as_user("u", revision_of(machine))
    machine.run(DISABLE)
    assert machine.run(before, put(b"p", b"2")) == (OLD_REVISION,)
