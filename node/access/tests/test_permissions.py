"""Who may send what: roles, and prefixes that everything must lie within."""

import msgpack
import pytest

from metastore.node.access.permissions import (
    AccessRole,
    Grants,
    why_not,
)
from metastore.transport import member_ops, schema
from metastore.transport.auth_ops import AuthAction, as_user, auth
from metastore.transport.backup_frames import BackupRequest, Fetch
from metastore.transport.envelope import ClientFrame, Hello, Request
from metastore.transport.schema import Op, Operation
from metastore.transport.watch_frames import Cancel, Credit, ProgressRequest, Watch

READER = Grants("web", AccessRole.READ)
WRITER = Grants("job", AccessRole.WRITE)
ADMIN = Grants("ops", AccessRole.ADMIN)
APP_READER = Grants("web", AccessRole.READ, (b"app/",))
APP_WRITER = Grants("job", AccessRole.WRITE, (b"app/",))

LEASES = {1: (b"app/1", b"app/2"), 2: (b"app/1", b"other"), 3: ()}
READS: dict[str, Operation] = {
    "range": schema.range_(b"app/", b"app0"),
    "filtered range": schema.filtered_range(schema.range_(b"app/k")),
    "txn that reads": schema.txn(
        [schema.compare(0, 0, b"app/k", 1)],
        [schema.range_(b"app/k"), schema.txn([], [schema.range_(b"app/l")])],
    ),
    "time to live": (int(Op.LEASE_TIME_TO_LIVE), 1, False),
    "time to live with keys": (int(Op.LEASE_TIME_TO_LIVE), 1, True),
    "leases": (int(Op.LEASES),),
    "hash": (int(Op.HASH), 0),
    "alarms": (int(Op.ALARMS),),
    "open a session": (int(Op.SESSION_OPEN), 7),
    "close a session": (int(Op.SESSION_CLOSE), 7),
    "members": member_ops.members(),
    "status of auth": auth(AuthAction.STATUS),
    "check of a user": auth(AuthAction.CHECK, 1, b"other", b""),
}
WRITES: dict[str, Operation] = {
    "put": schema.put(b"app/k", b""),
    "put with a lease": schema.put(b"app/k", b"", lease=2),
    "delete": schema.delete_range(b"app/", b"app0"),
    "txn that puts": schema.txn([], [], [schema.put(b"app/k", b"")]),
    "txn with a txn that deletes": schema.txn(
        [], [schema.txn([], [schema.delete_range(b"app/k")])]
    ),
    "grant": (int(Op.LEASE_GRANT), 0, 60),
    "revoke": (int(Op.LEASE_REVOKE), 1),
    "keep alive": (int(Op.LEASE_KEEP_ALIVE), 2),
}
FOR_ADMINS: dict[str, Operation] = {
    "compact": (int(Op.COMPACT), 1, False),
    "change the members": member_ops.member_change([(member_ops.ChangeKind.REMOVE, 3)]),
    "move the leadership": member_ops.move_leader(2),
    "change an alarm": (int(Op.ALARM_CHANGE), 1, True),
    "list users": auth(AuthAction.USER_LIST),
    "add a user": auth(AuthAction.USER_ADD, "u", b""),
    "what passwords are checked with": auth(AuthAction.CREDENTIALS, "u"),
}


def request(*operations: Operation) -> Request:
    return Request(5, 0, schema.encode_request(operations))


def verdict(grants: Grants, frame: ClientFrame | Operation) -> tuple[str, str]:
    if not isinstance(frame, Request | Hello | Watch | Credit | Cancel | ProgressRequest) and (
        not isinstance(frame, BackupRequest | Fetch)
    ):
        frame = request(frame)
    denial = why_not(grants, frame, lambda lease: LEASES.get(lease, ()))
    return ("", "") if denial is None else (denial.reason.value, denial.text)


def is_allowed(grants: Grants, frame: ClientFrame | Operation) -> bool:
    return verdict(grants, frame) == ("", "")


# Roles


@pytest.mark.parametrize("name", READS)
def test_everybody_may_read(name: str) -> None:
    assert [is_allowed(who, READS[name]) for who in (READER, WRITER, ADMIN)] == [True] * 3


@pytest.mark.parametrize("name", WRITES)
def test_a_reader_may_not_write(name: str) -> None:
    expected = ("role", "client 'web' may read, not write")
    assert verdict(READER, WRITES[name]) == expected
    assert is_allowed(WRITER, WRITES[name])
    assert is_allowed(ADMIN, WRITES[name])


@pytest.mark.parametrize("name", FOR_ADMINS)
def test_what_concerns_the_whole_cluster_takes_an_admin(name: str) -> None:
    assert verdict(READER, FOR_ADMINS[name]) == (
        "role",
        "client 'web' may read; this takes the role admin",
    )
    assert verdict(WRITER, FOR_ADMINS[name]) == (
        "role",
        "client 'job' may read and write; this takes the role admin",
    )
    assert is_allowed(ADMIN, FOR_ADMINS[name])


@pytest.mark.parametrize("frame", [BackupRequest(1), Fetch(1, 1, 0, 10)])
def test_a_backup_takes_an_admin(frame: ClientFrame) -> None:
    assert [verdict(who, frame)[0] for who in (READER, WRITER, ADMIN)] == ["role", "role", ""]


def test_every_operation_that_there_is_was_thought_of() -> None:
    named = {operation[0] for operation in (*READS.values(), *WRITES.values())}
    named |= {operation[0] for operation in FOR_ADMINS.values()}
    internal = {Op.LEASE_EXPIRE, Op.LEASE_CHECKPOINT, Op.ALARM}
    headers = {Op.SESSION, Op.AS}
    assert named == (set(Op) - internal - headers) | member_ops.MEMBER_OPERATIONS


def test_who_may_connect_may_greet_and_steer_its_watches() -> None:
    for frame in (Hello(1, 0), Credit(1, 5), Cancel(1), ProgressRequest(1)):
        assert is_allowed(APP_READER, frame)


def test_the_worst_operation_of_a_request_counts() -> None:
    header = (int(Op.SESSION), 7, 1, 0)
    assert is_allowed(READER, request(header, READS["range"]))
    for bad in ("put", "compact"):
        operations = [header, READS["range"], (WRITES | FOR_ADMINS)[bad]]
        assert verdict(READER, request(*operations))[0] == "role"


@pytest.mark.parametrize("name", [*READS, *WRITES, *FOR_ADMINS])
def test_a_users_name_makes_no_difference(name: str) -> None:
    operation = (READS | WRITES | FOR_ADMINS)[name]
    if operation[0] in member_ops.MEMBER_OPERATIONS or operation[:2] == (Op.AUTH, 17):
        return  # the one has no header, the other is refused with one
    for who in (READER, WRITER, APP_READER, APP_WRITER):
        named = request(as_user("root", 9), operation)
        assert verdict(who, named) == verdict(who, operation)


def test_no_spelling_of_an_operation_hides_it() -> None:
    """The first byte of an array, or of a number, may be written in several ways."""
    key, value = msgpack.packb(b"app/k"), msgpack.packb(b"")
    put = b"\xdd\x00\x00\x00\x05" + b"\xcd\x00\x01" + key + value + b"\x00\x00"
    assert schema.decode_request(b"\xdc\x00\x01" + put) == (schema.put(b"app/k", b""),)
    assert verdict(READER, Request(1, 0, b"\xdc\x00\x01" + put))[0] == "role"
    move = b"\xdc\x00\x01\xdc\x00\x02\xcc\x32\x02"
    assert member_ops.decode_member_request(move).operation == member_ops.MOVE_LEADER
    assert verdict(WRITER, Request(1, 0, move))[0] == "role"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        schema.encode_request([(99, 1)]),
        schema.encode_request([schema.put(b"app/k", b""), member_ops.members()]),
        schema.encode_request([(int(Op.LEASE_EXPIRE), 1, 0)]),
    ],
)
def test_what_cannot_be_read_is_not_judged(data: bytes) -> None:
    for who in (READER, APP_WRITER):
        with pytest.raises(schema.MalformedRequest):
            why_not(who, Request(1, 0, data), lambda lease: ())


# Prefixes


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_a_client_may_do_what_stays_within_its_prefix(name: str) -> None:
    is_reading = name in READS
    expected = name not in ("leases", "hash")
    assert is_allowed(APP_READER if is_reading else APP_WRITER, (READS | WRITES)[name]) is expected


OUTSIDE: dict[str, Operation | ClientFrame] = {
    "range of one key": schema.range_(b"apps"),
    "range beyond the end": schema.range_(b"app/", b"app0\x00"),
    "range from before": schema.range_(b"app", b"app/z"),
    "range to the end": schema.range_(b"app/", b"\x00"),
    "range of everything": schema.range_(b"\x00", b"\x00"),
    "range of the empty key": schema.range_(b"", b"\x00"),
    "filtered range": schema.filtered_range(schema.range_(b"other")),
    "put": schema.put(b"other", b""),
    "delete": schema.delete_range(b"app/", b"\x00"),
    "comparison of a key": schema.txn([schema.compare(0, 0, b"other", 1)]),
    "comparison of a range": schema.txn([schema.compare(0, 0, b"app/", 1, b"\x00")]),
    "success": schema.txn([], [schema.put(b"app/k", b""), schema.put(b"other", b"")]),
    "failure": schema.txn([], [], [schema.delete_range(b"other")]),
    "txn in a txn": schema.txn([], [schema.txn([schema.compare(0, 0, b"other", 1)])]),
    "txn that reads": schema.txn([], [schema.range_(b"other")]),
    "watch": Watch(1, b"app/", b"\x00", 0, 0, 1),
    "watch of the empty key": Watch(1, b"", b"", 0, 0, 1),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_client_may_not_touch_a_key_outside_of_its_prefix(name: str) -> None:
    expected = ("prefix", "client 'job' may not touch keys outside of 'app/'")
    assert verdict(APP_WRITER, OUTSIDE[name]) == expected
    assert is_allowed(WRITER, OUTSIDE[name])


def test_a_watch_within_the_prefix_is_allowed() -> None:
    assert is_allowed(APP_READER, Watch(1, b"app/", b"app0", 0, 0, 1))


@pytest.mark.parametrize("lease", [1, 3, 99])
def test_a_lease_without_a_key_outside_may_be_seen_and_ended(lease: int) -> None:
    assert is_allowed(APP_READER, (int(Op.LEASE_TIME_TO_LIVE), lease, True))
    assert is_allowed(APP_WRITER, (int(Op.LEASE_REVOKE), lease))


def test_a_lease_with_a_key_outside_may_neither_be_seen_nor_ended() -> None:
    assert verdict(APP_READER, (int(Op.LEASE_TIME_TO_LIVE), 2, True)) == (
        "prefix",
        "client 'web' may not see a lease's keys outside of 'app/'",
    )
    assert is_allowed(APP_READER, (int(Op.LEASE_TIME_TO_LIVE), 2, False))
    assert verdict(APP_WRITER, (int(Op.LEASE_REVOKE), 2)) == (
        "prefix",
        "client 'job' may not end a lease that has keys outside of 'app/'",
    )
    assert is_allowed(WRITER, (int(Op.LEASE_REVOKE), 2))


def test_what_tells_of_all_keys_is_not_for_a_client_with_prefixes() -> None:
    assert verdict(APP_READER, READS["leases"])[0] == "prefix"
    assert verdict(APP_READER, READS["hash"])[1] == (
        "client 'web' may not ask for the hash of keys outside of 'app/'"
    )


def test_a_sentence_names_only_the_first_of_many_prefixes() -> None:
    many = Grants("web", AccessRole.READ, tuple(b"p%d/" % n for n in range(9)))
    _, text = verdict(many, schema.range_(b"other"))
    assert text == "client 'web' may not touch keys outside of 'p0/', 'p1/', 'p2/', 'p3/', ..."
