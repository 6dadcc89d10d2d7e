"""Who may do what: etcd's decisions, for a request as a whole and before any of it is done."""

from typing import Any

import pytest
from auth_machine import (
    DISABLE,
    ENABLE,
    add_user,
    done,
    guarded,
    named,
    one_named,
    revision_of,
)
from state_machine import Machine

from metastore.engines import refusals
from metastore.engines.auth import guard
from metastore.engines.auth.guard import DENIED, NO_NAME, OLD_REVISION
from metastore.engines.state import HASH_ELSEWHERE
from metastore.transport import schema
from metastore.transport.auth_ops import AuthAction, Need, Permission, as_user, auth
from metastore.transport.schema import Code, Op, Operation, compare, delete_range, put, range_, txn

READ, WRITE, BOTH = Permission
OWN, FOREIGN = 7, 8  # leases: keys of "u" hang on the one, another's on the other


@pytest.fixture
def machine() -> Machine:
    """u may read [a, c) and [c, e), read and write [p, q), write w."""
    machine = guarded()
    add_user(
        machine, "u", (READ, b"a", b"c"), (READ, b"c", b"e"), (BOTH, b"p", b"q"), (WRITE, b"w", b"")
    )
    machine.run((Op.LEASE_GRANT, OWN, 60), (Op.LEASE_GRANT, FOREIGN, 60), (Op.SESSION_OPEN, 1))
    machine.run(put(b"p", b"1", lease=OWN), put(b"w", b"1", lease=OWN))
    machine.run(put(b"p1", b"1", lease=FOREIGN), put(b"z", b"1", lease=FOREIGN))
    return machine


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
            assert done(*machine.run(as_user(user, 0), operation))


# A request as a whole


def test_of_a_request_all_is_done_or_nothing(machine: Machine) -> None:
    revision = machine.state.keys.revision
    results = named(machine, "u", put(b"p", b"2"), range_(b"a"), put(b"z", b"2"))
    assert results == (DENIED, DENIED, DENIED)
    assert machine.state.keys.revision == revision


def test_an_old_auth_revision_refuses_everything(machine: Machine) -> None:
    revision = revision_of(machine)
    add_user(machine, "later")
    for user in ("root", "u", ""):
        results = machine.run(as_user(user, revision), put(b"p", b"2"), (Op.LEASE_GRANT, 0, 60))
        assert results == (OLD_REVISION, OLD_REVISION)
    assert done(*named(machine, "u", put(b"p", b"2")))


def test_a_newer_auth_revision_than_is_known_here_is_judged_by_what_is_known(
    machine: Machine,
) -> None:
    newer = as_user("u", revision_of(machine) + 9)
    (allowed,) = machine.run(newer, put(b"p", b"2"))
    assert done(allowed)
    assert machine.run(newer, put(b"z", b"2")) == (DENIED,)


def test_a_change_of_roles_counts_at_once(machine: Machine) -> None:
    assert one_named(machine, "u", range_(b"z")) == DENIED
    machine.run(auth(AuthAction.ROLE_GRANT, "u", int(READ), b"z", b"\0"))
    assert done(one_named(machine, "u", range_(b"zz", b"\0")))
    machine.run(auth(AuthAction.ROLE_DELETE, "u"))
    assert one_named(machine, "u", range_(b"z")) == DENIED


def test_the_permissions_of_all_roles_count_together(machine: Machine) -> None:
    add_user(machine, "other", (READ, b"e", b"g"))
    assert one_named(machine, "u", range_(b"b", b"f")) == DENIED
    machine.run(auth(AuthAction.USER_GRANT, "u", "other"))
    assert done(one_named(machine, "u", range_(b"b", b"f")))


def test_the_role_root_is_whose_it_was_given_to(machine: Machine) -> None:
    machine.run(auth(AuthAction.USER_GRANT, "u", "root"))
    assert done(*named(machine, "u", put(b"z", b"2"), auth(AuthAction.USER_LIST)))


def test_users_that_are_looked_up_do_not_pile_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "CALLERS_MAX", 3)
    for number in range(9):
        assert one_named(machine, f"nobody{number}", range_(b"a")) == DENIED
    assert len(machine.state._guard._callers) <= 3
    assert done(one_named(machine, "u", range_(b"a")))


# What etcd finds first


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (range_(b""), refusals.NO_KEY),
        (delete_range(b""), refusals.NO_KEY),
        (put(b"", b""), refusals.NO_KEY),
        (put(b"z", b"v", ignore_value=True), refusals.NEEDLESS_VALUE),
        (put(b"z", b"v", ignore_lease=True, lease=1), refusals.NEEDLESS_LEASE),
        (txn([], [put(b"z", b"1"), put(b"z", b"2")]), refusals.KEY_TWICE),
        (txn([], [range_(b"z")] * 129), refusals.TOO_MANY),
    ],
)
@pytest.mark.parametrize("user", ["", "u"])
def test_what_is_not_well_made_is_said_whoever_calls(
    machine: Machine, user: str, operation: Operation, expected: Any
) -> None:
    assert one_named(machine, user, operation) == expected


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (range_(b"a", revision=99), Code.OUT_OF_RANGE),
        (put(b"p", b"", lease=99), Code.NOT_FOUND),
        ((Op.LEASE_REVOKE, 99), Code.NOT_FOUND),
    ],
)
def test_what_the_state_does_not_allow_is_said_to_who_may(
    machine: Machine, operation: Operation, code: Code
) -> None:
    assert one_named(machine, "u", operation)[0] == code


# Sessions and reads


def test_a_denied_command_of_a_session_is_answered_the_same_again(machine: Machine) -> None:
    command = ((Op.SESSION, 1, 1, 0), as_user("u", revision_of(machine)), put(b"z", b"2"))
    assert machine.run(*command) == (DENIED,)
    machine.run(DISABLE)
    assert machine.run(*command) == (DENIED,)


def test_a_command_of_a_session_in_a_name_is_carried_out_once(machine: Machine) -> None:
    command = ((Op.SESSION, 1, 1, 0), as_user("u", revision_of(machine)), put(b"p", b"2"))
    first = machine.run(*command)
    assert done(*first)
    machine.run(auth(AuthAction.ROLE_DELETE, "u"))
    assert machine.run(*command) == first


def read(machine: Machine, *operations: Operation) -> Any:
    return schema.decode_results(machine.state.read(schema.encode_request(operations)))


def test_reads_without_the_log_are_judged_as_well(machine: Machine) -> None:
    revision = revision_of(machine)
    assert done(*read(machine, as_user("u", revision), range_(b"a"), range_(b"p", b"q")))
    assert read(machine, as_user("u", revision), range_(b"a"), range_(b"z")) == (DENIED, DENIED)
    assert read(machine, as_user("", revision), range_(b"a")) == (NO_NAME,)
    assert read(machine, as_user("root", revision - 1), range_(b"a")) == (OLD_REVISION,)


def test_a_write_in_a_name_is_no_read(machine: Machine) -> None:
    refused = read(machine, as_user("root", 99), put(b"z", b"2"))
    assert refused[0][0] == Code.INVALID_ARGUMENT
    assert read(machine, ENABLE)[0][0] == Code.INVALID_ARGUMENT


def test_a_hash_in_a_name_is_worked_out_elsewhere_if_at_all(machine: Machine) -> None:
    header = as_user("root", revision_of(machine))
    assert read(machine, header, (Op.HASH, 0)) == ((Code.UNIMPLEMENTED, HASH_ELSEWHERE),)
    assert read(machine, as_user("u", header[2]), (Op.HASH, 0)) == (DENIED,)


def test_the_leaders_own_entries_are_nobodys(machine: Machine) -> None:
    machine.lead((Op.LEASE_EXPIRE, FOREIGN, 0))
    assert not machine.state.leases.exists(FOREIGN)


def test_an_operation_that_nobody_thought_of_takes_the_role_root() -> None:
    tables = guarded().state.auth
    judge = guard.Guard(tables, lambda _: ())
    for user, expected in (("root", None), ("u", DENIED), ("", NO_NAME)):
        assert judge.refusal_or_none(as_user(user, tables.revision), [(99,)]) == expected
