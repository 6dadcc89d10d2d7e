"""The gate with keys: whom it lets through, and how it counts and logs whom it does not."""

from collections.abc import Callable

import pytest
from doors import (
    BUSY,
    GET,
    IDLE_TICKS,
    JOB,
    NEW_WEB,
    NODE,
    OPS,
    PUT,
    STRANGER,
    TEXT,
    WEB,
    A,
    B,
    C,
    Door,
)
from structlog.testing import capture_logs

from metastore.node.access import gate as gates
from metastore.node.access.file import AccessFile
from metastore.transport import member_ops, schema
from metastore.transport.backup_frames import BackupRequest, Fetch
from metastore.transport.envelope import Hello, Request
from metastore.transport.framing import ErrorCode
from metastore.transport.watch_frames import Cancel, Credit, ProgressRequest, Watch


def test_without_keys_everybody_may_do_everything(door: Door) -> None:
    compact = Request(1, 0, schema.encode_request([(int(schema.Op.COMPACT), 1, False)]))
    for frame in (GET, PUT, compact, BackupRequest(1), Watch(1, b"k", b"", 0, 0, 1), Hello(1, 0)):
        assert door.is_done(A, frame)
    assert door.gate.why_not_watch(A, b"k", b"") == ""
    assert door.refused == {}


def test_a_client_gets_as_far_as_its_grants_go(access: AccessFile) -> None:
    door = Door(access)
    assert door.is_done(A, GET, WEB)
    assert door.comes(A, PUT, WEB) == (
        ErrorCode.PERMISSION_DENIED,
        "client 'web' may read, not write",
    )
    other = Request(7, 0, schema.encode_request([schema.range_(b"other")]))
    assert door.comes(A, other, WEB) == (
        ErrorCode.PERMISSION_DENIED,
        "client 'web' may not touch keys outside of 'app/'",
    )
    assert door.is_done(B, PUT, JOB)
    assert door.refused == {"web": {"role": 1, "prefix": 1}}


@pytest.mark.parametrize("user", [NODE, OPS])
def test_a_node_and_an_admin_may_do_everything(access: AccessFile, user: str) -> None:
    door = Door(access)
    member = Request(1, 0, schema.encode_request([member_ops.move_leader()]))
    for frame in (PUT, member, BackupRequest(1), Fetch(1, 1, 0, 1), Watch(1, b"k", b"", 0, 0, 1)):
        assert door.is_done(A, frame, user)


@pytest.mark.parametrize("user", [STRANGER, ""])
def test_a_key_that_is_not_in_the_file_may_not_even_greet(access: AccessFile, user: str) -> None:
    door = Door(access)
    refusal = (ErrorCode.PERMISSION_DENIED, "this key is not in the access file of the node")
    for frame in (Hello(1, 0), GET, Credit(1, 1), Cancel(1), ProgressRequest(1)):
        assert door.comes(A, frame, user) == refusal
    assert door.refused == {f"key {user}": {"key": 5}}


def test_a_key_that_is_taken_out_stops_working_on_its_open_connection(
    access: AccessFile, change: Callable[[str], None]
) -> None:
    door = Door(access)
    assert door.is_done(A, GET, WEB)
    change(TEXT.replace(WEB, NEW_WEB))
    assert door.comes(A, GET, WEB)[0] == ErrorCode.PERMISSION_DENIED
    assert door.is_done(B, GET, NEW_WEB)


def test_the_keys_of_a_lease_are_asked_for_when_it_is_to_end(
    access: AccessFile, change: Callable[[str], None]
) -> None:
    change(TEXT.replace('role = "read"', 'role = "write"'))
    door = Door(access)
    revoke = Request(1, 0, schema.encode_request([(int(schema.Op.LEASE_REVOKE), 4)]))
    door.keys[4] = [b"app/k"]
    assert door.is_done(A, revoke, WEB)
    door.keys[4] = [b"app/k", b"other"]
    assert door.comes(A, revoke, WEB)[0] == ErrorCode.PERMISSION_DENIED


def test_a_request_that_cannot_be_read_is_invalid_at_once(access: AccessFile) -> None:
    door = Door(access)
    refusal = door.comes(A, Request(1, 0, b"\xc1"), WEB)
    assert refusal[0] == ErrorCode.INVALID
    assert "msgpack" in refusal[1]
    assert door.refused == {"web": {"malformed": 1}}
    assert door.is_done(B, Request(1, 0, b"\xc1"), OPS)  # to where everybody's are refused


def test_the_id_of_a_connection_cannot_be_taken_over_with_another_key(access: AccessFile) -> None:
    """Nothing of the one may be answered to the other, nor kept alive by it."""
    door = Door(access)
    assert door.is_done(A, GET, WEB)
    refusal = (ErrorCode.PERMISSION_DENIED, gates.FOREIGN_KEY)
    assert door.comes(A, GET, OPS) == refusal
    assert door.comes(A, GET, NODE) == refusal
    assert door.is_done(A, GET, WEB)
    door.ticks(IDLE_TICKS)
    assert door.comes(A, GET, OPS) == refusal
    door.ticks(1)
    assert door.is_done(A, GET, OPS)


def test_a_watch_that_is_open_is_judged_again(
    access: AccessFile, change: Callable[[str], None]
) -> None:
    door = Door(access)
    for identity, user in ((A, WEB), (B, NODE)):
        assert door.is_done(identity, Watch(1, b"app/", b"app0", 0, 0, 1), user)
    assert door.gate.why_not_watch(A, b"app/", b"app0") == ""
    change(TEXT.replace("app/", "app/only/"))
    assert door.gate.why_not_watch(A, b"app/", b"app0") == (
        "client 'web' may not touch keys outside of 'app/only/'"
    )
    assert door.gate.why_not_watch(A, b"app/only/k", b"") == ""
    change(TEXT.replace(WEB, NEW_WEB))
    assert door.gate.why_not_watch(A, b"app/only/k", b"") == gates.UNKNOWN_KEY
    assert door.gate.why_not_watch(B, b"\0", b"\0") == ""
    assert door.gate.why_not_watch(C, b"app/k", b"") == gates.UNKNOWN_KEY


# Counting and logging


def test_each_is_logged_once_by_who_and_why(access: AccessFile) -> None:
    door = Door(access)
    with capture_logs() as lines:
        for _ in range(3):
            door.comes(A, PUT, WEB)
            door.comes(A, Watch(1, b"other", b"", 0, 0, 1), WEB)
            door.comes(B, BackupRequest(1), JOB)
    assert [(line["who"], line["reason"], line["why"]) for line in lines] == [
        ("web", "role", "client 'web' may read, not write"),
        ("web", "prefix", "client 'web' may not touch keys outside of 'app/'"),
        ("job", "role", "client 'job' may read and write; this takes the role admin"),
    ]
    assert door.refused == {"web": {"role": 3, "prefix": 3}, "job": {"role": 3}}


def test_a_node_that_is_refused_is_counted_as_one(access: AccessFile) -> None:
    door = Door(access)
    assert [door.comes(A, GET, NODE) for _ in range(4)] == [None, None, None, BUSY]
    assert door.refused == {"(nodes)": {"in_flight": 1}}


def test_many_strange_keys_take_no_memory(
    access: AccessFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "REFUSED_MAX", 3)
    door = Door(access)
    with capture_logs() as lines:
        for number in range(50):
            door.comes(A, GET, f"stranger {number}")
            door.ticks(IDLE_TICKS + 1)
    assert len(lines) == 4
    assert len(door.refused) == 4
    assert door.refused[gates.OTHERS] == {"key": 47}


def test_counters_are_a_copy(door: Door) -> None:
    for _ in range(4):
        door.comes(A)
    door.refused["(anybody)"]["in_flight"] = 9
    assert door.refused == {"(anybody)": {"in_flight": 1}}
