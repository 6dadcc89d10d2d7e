"""Maintenance: what the node's status, alarms and checksums become in etcd's messages."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from metastore.api.access.authenticator import INVALID_TOKEN
from metastore.api.calls import ApiError, Caller, Status
from metastore.api.failures import TIMED_OUT
from metastore.api.protocol.messages import rpc
from metastore.api.services.maintenance import Maintenance
from metastore.transport import member_ops
from metastore.transport.auth_ops import PERMISSION_DENIED, USER_EMPTY, Need
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import COMPACTED, Alarm, Op

CALLER = Caller(token="whose")
GET, ACTIVATE, DEACTIVATE = 0, 1, 2
VALIDATE, ENABLE, CANCEL = 0, 1, 2
NONE, NOSPACE, CORRUPT = 0, int(Alarm.NOSPACE), int(Alarm.CORRUPT)
TOLD = {
    "node_id": 1,
    "leader_id": 2,
    "term": 7,
    "commit": 30,
    "applied": 29,
    "store": {"revision": 12, "size_bytes": 100, "quota_bytes": 5000},
    "log": {"bytes": 40},
    "configuration": {"voters": [1, 2, 3], "learners": [4]},
    "alarms": [],
}


class Link:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, **told: Any) -> None:
        self.told = {**TOLD, **told}
        self.alarms: list[int] = []
        self.hashed: Sequence[int] | ApiError = (0, 12, 0, -1, 12)
        self.refusal: ApiError | None = None  # of a caller who needs a right
        self.node_id = 1
        self.leader_id = self.told["leader_id"]
        self.changes: list[Any] = []
        self.moves: list[Any] = []
        self.checks: list[Any] = []
        self.hash_questions: list[Any] = []

    def header(self, revision: int = 0, term: int = 0) -> Any:
        return rpc.ResponseHeader(member_id=1, revision=revision, raft_term=term or 6)

    async def status(self) -> dict[str, Any]:
        return self.told

    async def ask(self, caller: Caller, operation: Sequence[Any]) -> Sequence[Any]:
        assert caller is CALLER
        if operation[0] == Op.ALARMS:
            return (0, 12, tuple(self.alarms))
        self.changes.append(operation)
        return (0, 13)

    async def ask_as_gateway(
        self, operation: Sequence[Any], *, level: ReadLevel = ReadLevel.LINEARIZABLE
    ) -> Sequence[Any]:
        if operation[0] == Op.HASH:
            self.hash_questions.append((operation[1], level))
            if isinstance(self.hashed, ApiError):
                raise self.hashed
            return self.hashed
        self.moves.append(operation)
        return (0, 12)

    async def check(self, caller: Caller, need: Need) -> None:
        self.checks.append((caller, need))
        if self.refusal is not None:
            raise self.refusal


async def two_pieces(caller: Caller) -> AsyncIterator[Any]:
    for blob in (b"a", b"b"):
        yield rpc.SnapshotResponse(blob=blob)


def ask(link: Link, name: str, request: Any) -> Any:
    service: Any = Maintenance(link, two_pieces)  # type: ignore[arg-type]
    return asyncio.run(getattr(service, name)(request, CALLER))


def fault_of(link: Link, name: str, request: Any) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        ask(link, name, request)
    return int(caught.value.code), caught.value.message


def test_the_status_is_that_of_the_node_not_of_the_gateway() -> None:
    reply = ask(Link(), "status", rpc.StatusRequest())
    assert (reply.leader, reply.raftTerm, reply.raftIndex, reply.raftAppliedIndex) == (2, 7, 30, 29)
    assert (reply.header.raft_term, reply.header.revision) == (7, 12)
    assert (reply.dbSize, reply.dbSizeInUse, reply.dbSizeQuota) == (140, 100, 5000)
    assert (reply.version, reply.storageVersion) == ("3.5.21", "3.5.0")
    assert not reply.isLearner
    assert not reply.errors


def test_a_learner_and_what_is_wrong_are_told() -> None:
    alarms = ["NOSPACE: 5001 bytes", "a peer is slow"]
    link = Link(node_id=4, leader_id=0, alarms=alarms)
    reply = ask(link, "status", rpc.StatusRequest())
    assert reply.isLearner
    assert list(reply.errors) == ["etcdserver: no leader", "memberID:4 alarm:NOSPACE "]
    assert link.checks == []  # also who has no token may know


@pytest.mark.parametrize(
    ("alarm", "shown"), [(NONE, [NOSPACE, CORRUPT]), (CORRUPT, [CORRUPT]), (77, [])]
)
def test_alarms_are_listed_all_or_of_one_kind(alarm: int, shown: list[int]) -> None:
    link = Link()
    link.alarms = [NOSPACE, CORRUPT]
    reply = ask(link, "alarm", rpc.AlarmRequest(action=GET, alarm=alarm))
    assert [(one.memberID, one.alarm) for one in reply.alarms] == [(2, one) for one in shown]
    assert (reply.header.revision, link.changes) == (12, [])


@pytest.mark.parametrize(
    ("action", "alarm", "active", "shown", "is_on"),
    [
        (ACTIVATE, CORRUPT, [], [CORRUPT], True),
        (ACTIVATE, CORRUPT, [CORRUPT], [CORRUPT], True),
        (DEACTIVATE, NOSPACE, [NOSPACE], [NOSPACE], False),
        (DEACTIVATE, NOSPACE, [CORRUPT], [], False),
    ],
)
def test_an_alarm_is_switched_and_shown(
    action: int, alarm: int, active: list[int], shown: list[int], is_on: bool
) -> None:
    link = Link()
    link.alarms = active
    reply = ask(link, "alarm", rpc.AlarmRequest(action=action, alarm=alarm, memberID=3))
    assert [(one.memberID, one.alarm) for one in reply.alarms] == [(3, one) for one in shown]
    assert link.changes == [(Op.ALARM_CHANGE, alarm, is_on)]
    assert reply.header.revision == 13


@pytest.mark.parametrize(
    ("action", "alarm"),
    [(ACTIVATE, NONE), (DEACTIVATE, NONE), (ACTIVATE, 77), (DEACTIVATE, 77), (5, NOSPACE)],
)
def test_what_is_no_alarm_or_no_action_switches_nothing(action: int, alarm: int) -> None:
    link = Link()
    link.alarms = [NOSPACE]
    reply = ask(link, "alarm", rpc.AlarmRequest(action=action, alarm=alarm))
    assert (list(reply.alarms), link.changes, reply.header.revision) == ([], [], 12)


def test_an_alarm_without_a_leader_is_shown_as_the_own_nodes() -> None:
    link = Link(leader_id=0)
    link.alarms = [NOSPACE]
    reply = ask(link, "alarm", rpc.AlarmRequest())
    assert reply.alarms[0].memberID == 1


def test_checksums_have_32_bits_and_are_of_the_own_node() -> None:
    link = Link()
    link.hashed = (0, 12, (1 << 40) + 5, 3, 11)
    assert ask(link, "hash", rpc.HashRequest()).hash == 5
    reply = ask(link, "hash_kv", rpc.HashKVRequest(revision=11))
    assert (reply.hash, reply.compact_revision, reply.hash_revision) == (5, 3, 11)
    assert reply.header.revision == 12
    assert link.hash_questions == [(0, ReadLevel.LOCAL), (11, ReadLevel.LOCAL)]


def test_a_checksum_of_a_revision_that_is_gone_is_refused() -> None:
    link = Link()
    link.hashed = ApiError(Status.OUT_OF_RANGE, COMPACTED)
    assert fault_of(link, "hash_kv", rpc.HashKVRequest(revision=1)) == (11, COMPACTED)


def test_there_is_nothing_to_defragment_and_the_answer_has_no_header() -> None:
    reply = ask(Link(), "defragment", rpc.DefragmentRequest())
    assert not reply.HasField("header")


def test_a_snapshot_comes_in_its_pieces() -> None:
    async def collect(link: Link) -> list[bytes]:
        service: Any = Maintenance(link, two_pieces)  # type: ignore[arg-type]
        return [one.blob async for one in service.snapshot(rpc.SnapshotRequest(), CALLER)]

    link = Link()
    assert asyncio.run(collect(link)) == [b"a", b"b"]
    link.refusal = ApiError(Status.PERMISSION_DENIED, PERMISSION_DENIED)
    with pytest.raises(ApiError, match="auth: permission denied"):
        asyncio.run(collect(link))


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("defragment", rpc.DefragmentRequest()),
        ("hash", rpc.HashRequest()),
        ("hash_kv", rpc.HashKVRequest()),
    ],
)
def test_only_who_may_administer_gets_checksums_and_defragments(name: str, request_: Any) -> None:
    for code, text, told in (
        (Status.INVALID_ARGUMENT, USER_EMPTY, (2, "auth: user name is empty")),
        (Status.PERMISSION_DENIED, PERMISSION_DENIED, (2, "auth: permission denied")),
        (Status.UNAUTHENTICATED, INVALID_TOKEN, (2, "auth: invalid auth token")),
        (Status.UNAVAILABLE, TIMED_OUT, (14, TIMED_OUT)),  # no word about access
    ):
        link = Link()
        link.refusal = ApiError(code, text)
        assert fault_of(link, name, request_) == told
        assert link.checks == [(CALLER, Need.ADMIN)]
        assert link.hash_questions == []


@pytest.mark.parametrize(
    ("leader", "target", "fault"),
    [
        (0, 2, (14, "etcdserver: no leader")),
        (2, 3, (9, "etcdserver: not leader")),
        (1, 4, (9, "etcdserver: bad leader transferee")),
        (1, 0, (9, "etcdserver: bad leader transferee")),
    ],
)
def test_the_lead_moves_only_from_the_leader_to_a_voter(
    leader: int, target: int, fault: tuple[int, str]
) -> None:
    link = Link(leader_id=leader)
    assert fault_of(link, "move_leader", rpc.MoveLeaderRequest(targetID=target)) == fault
    assert link.moves == []


def test_the_lead_moves_and_not_to_who_has_it() -> None:
    link = Link(leader_id=1)
    assert ask(link, "move_leader", rpc.MoveLeaderRequest(targetID=1)).header.revision == 12
    assert link.moves == []
    ask(link, "move_leader", rpc.MoveLeaderRequest(targetID=3))
    assert link.moves == [(member_ops.MOVE_LEADER, 3)]


@pytest.mark.parametrize(
    ("action", "version", "fault"),
    [
        (VALIDATE, "x", (3, "etcdserver: wrong downgrade target version format")),
        (VALIDATE, "3", (3, "etcdserver: wrong downgrade target version format")),
        (VALIDATE, "3.04", (3, "etcdserver: wrong downgrade target version format")),
        (VALIDATE, "3.5", (3, "etcdserver: invalid downgrade target version")),
        (VALIDATE, "3.3.0", (3, "etcdserver: invalid downgrade target version")),
        (ENABLE, "3.4.0", (9, "etcdserver: not capable")),
        (CANCEL, "", (9, "etcdserver: no inflight downgrade job")),
        (7, "3.4.0", (2, "etcdserver: unknown method")),
    ],
)
def test_a_downgrade_is_refused(action: int, version: str, fault: tuple[int, str]) -> None:
    request = rpc.DowngradeRequest(action=action, version=version)
    assert fault_of(Link(), "downgrade", request) == fault


@pytest.mark.parametrize("version", ["3.4", "3.4.9"])
def test_a_downgrade_by_one_version_is_valid(version: str) -> None:
    reply = ask(Link(), "downgrade", rpc.DowngradeRequest(action=VALIDATE, version=version))
    assert reply.version == "3.5.0"
