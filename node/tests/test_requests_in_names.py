"""Requests in somebody's name: reads are served as reads, and the state machine judges them."""

from collections.abc import Callable
from typing import Any

import pytest
from runtime import Runtime, ask, errors, results

from metastore.engines.auth.guard import DENIED, NO_NAME
from metastore.node.hashes import HASHES_MAX
from metastore.transport import envelope, schema
from metastore.transport.auth_ops import SECRET_BYTES, AuthAction, as_user, auth
from metastore.transport.envelope import ErrorCode, ReadLevel
from metastore.transport.schema import Op, Operation

MakeRuntime = Callable[..., Runtime]
THREE = (1, 2, 3)
REVISION = 3
ENABLE = (
    auth(AuthAction.USER_ADD, "root", b""),
    auth(AuthAction.USER_GRANT, "root", "root"),
    auth(AuthAction.ENABLE, b"s" * SECRET_BYTES),
)
HASH = (int(Op.HASH), 0)


def request(*operations: Operation) -> bytes:
    return schema.encode_request(operations)


def answered(node: Runtime) -> Any:
    """What the one answer says."""
    [answer] = node.answers()
    assert isinstance(answer, envelope.Results)
    return schema.decode_results(answer.results)


@pytest.fixture
def guarded(alone: Runtime) -> Runtime:
    """A node on which auth is on."""
    ask(alone, 1, request(*ENABLE))
    alone.settle()
    assert results(alone) == [1]
    return alone


READS = (
    schema.range_(b"k"),
    schema.filtered_range(schema.range_(b"k")),
    schema.txn([], [schema.range_(b"k")]),
    (int(Op.LEASE_TIME_TO_LIVE), 7, True),
    (int(Op.LEASES),),
    (int(Op.ALARMS),),
    HASH,
    auth(AuthAction.STATUS),
    auth(AuthAction.USER_LIST),
    auth(AuthAction.CHECK, 1, b"k", b""),
)


@pytest.mark.parametrize("operation", READS, ids=lambda operation: str(operation[0]))
def test_a_read_in_a_name_is_answered_without_the_log(
    make_runtime: MakeRuntime, operation: Operation
) -> None:
    node = make_runtime(THREE)
    ask(node, 1, request(as_user("u", 1), operation), ReadLevel.LOCAL)
    if operation == HASH:
        node.desk.on_hashed(node.hashed.get(timeout=10))
    [result] = answered(node)
    assert result[0] == schema.Code.OK
    assert len(node.pending) == 0


@pytest.mark.parametrize(
    "operations",
    [
        [as_user("u", 1), schema.put(b"k", b"v")],
        [as_user("u", 1), schema.range_(b"k"), schema.put(b"k", b"v")],
        [as_user("u", 1), auth(AuthAction.USER_ADD, "x", b"")],
        [auth(AuthAction.STATUS), auth(AuthAction.USER_ADD, "x", b"")],
        [(int(Op.SESSION), 1, 1, 0), as_user("u", 1), schema.range_(b"k")],
    ],
    ids=["a put", "a put after a range", "a new user", "a new user nobody asks for", "a session"],
)
def test_what_may_change_something_goes_through_the_log(
    make_runtime: MakeRuntime, operations: list[Operation]
) -> None:
    node = make_runtime(THREE)
    ask(node, 1, request(*operations), ReadLevel.LOCAL)
    node.turn()
    [error] = errors(node)
    assert error.code == ErrorCode.NOT_LEADER


def test_a_linearizable_read_in_a_name_waits_for_its_read_index(leader: Runtime) -> None:
    ask(leader, 1, request(as_user("u", 1), schema.range_(b"k")))
    leader.settle()
    assert leader.answers() == []
    assert len(leader.reads) == 1


@pytest.mark.parametrize(("user", "refusal"), [("u", DENIED), ("", NO_NAME)])
def test_a_read_and_a_write_are_denied_alike(
    guarded: Runtime, user: str, refusal: tuple[int, str]
) -> None:
    for operation in (schema.range_(b"k"), schema.put(b"k", b"v")):
        ask(guarded, 2, request(as_user(user, REVISION), operation))
        guarded.settle()
        assert answered(guarded) == (refusal,)


def test_a_hash_is_worked_out_for_root_alone(
    guarded: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    monkeypatch.setattr(guarded.store, "hash_at", lambda revision, done: begun.append(revision))
    for user, refusal in (("u", DENIED), ("", NO_NAME)):
        ask(guarded, 2, request(as_user(user, REVISION), HASH), ReadLevel.LOCAL)
        assert answered(guarded) == (refusal,)
    assert begun == []
    ask(guarded, 3, request(as_user("root", REVISION), HASH), ReadLevel.LOCAL)
    assert begun == [0]
    assert guarded.answers() == []


def test_a_denied_hash_takes_no_turn_from_others(guarded: Runtime) -> None:
    for number in range(HASHES_MAX + 1):
        denied = request(as_user("u", REVISION), (int(Op.HASH), number))
        ask(guarded, number, denied, ReadLevel.LOCAL)
    assert results(guarded) == list(range(HASHES_MAX + 1))


def test_a_malformed_hash_in_a_name_is_refused(alone: Runtime) -> None:
    ask(alone, 1, request(as_user("u", 1), (int(Op.HASH), b"x")), ReadLevel.LOCAL)
    [error] = errors(alone)
    assert error.code == ErrorCode.INVALID


def test_credentials_are_read_without_a_name_only(guarded: Runtime) -> None:
    credentials = auth(AuthAction.CREDENTIALS, "root")
    ask(guarded, 2, request(credentials), ReadLevel.LOCAL)
    assert answered(guarded)[0][5] == 2
    ask(guarded, 3, request(as_user("root", REVISION), credentials), ReadLevel.LOCAL)
    [error] = errors(guarded)
    assert error.code == ErrorCode.INVALID
