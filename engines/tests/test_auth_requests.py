"""A request in somebody's name is judged as a whole, by what is known now, however it comes."""

from typing import Any

import pytest
from auth_machine import (
    DISABLE,
    ENABLE,
    FOREIGN,
    READ,
    add_user,
    done,
    guarded,
    named,
    one_named,
    peopled,
    revision_of,
)
from state_machine import Machine

from metastore.engines import refusals
from metastore.engines.auth import guard
from metastore.engines.auth.guard import DENIED, NO_NAME, OLD_REVISION
from metastore.engines.state import HASH_ELSEWHERE
from metastore.transport import schema
from metastore.transport.auth_ops import AuthAction, as_user, auth
from metastore.transport.schema import Code, Op, Operation, delete_range, put, range_, txn


@pytest.fixture
def machine() -> Machine:
    return peopled()


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
