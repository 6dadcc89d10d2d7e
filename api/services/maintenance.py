"""Maintenance of etcd: status with the real term and leader, alarms, checksums, snapshots.

Status is what this whole system began with: every number is that of the node's own status socket,
which answers without a leader too. There is nothing to defragment: the engines give space back by
themselves.
"""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from metastore.api.access.authenticator import INVALID_TOKEN
from metastore.api.calls import ApiError, Caller, Status
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.version import CLUSTER_VERSION, ETCD_VERSION, STORAGE_VERSION
from metastore.transport import member_ops, schema
from metastore.transport.auth_ops import PERMISSION_DENIED, USER_EMPTY, Need
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Op

NO_LEADER = "etcdserver: no leader"
NOT_LEADER = "etcdserver: not leader"
BAD_TRANSFEREE = "etcdserver: bad leader transferee"
BAD_VERSION = "etcdserver: wrong downgrade target version format"
BAD_TARGET = "etcdserver: invalid downgrade target version"
NO_DOWNGRADE = "etcdserver: no inflight downgrade job"
NOT_CAPABLE = "etcdserver: not capable"
_OF_ACCESS = (USER_EMPTY, PERMISSION_DENIED, INVALID_TOKEN)
UNKNOWN_ACTION = "etcdserver: unknown method"
_ALARMS = {int(alarm) for alarm in schema.Alarm}
_SWITCHES = (rpc.AlarmRequest.ACTIVATE, rpc.AlarmRequest.DEACTIVATE)
_32_BITS = (1 << 32) - 1
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)(\.(0|[1-9]\d*))?")

Snapshots = Callable[[Caller], AsyncIterator[Any]]


class Maintenance:
    """`snapshots` makes the messages of one snapshot."""

    def __init__(self, link: NodeLink, snapshots: Snapshots) -> None:
        self._link = link
        self._snapshots = snapshots

    async def status(self, request: Any, caller: Caller) -> Any:
        """Of this node, leader or not, cluster or not; no right is needed for it."""
        told = await self._link.status()
        store = told["store"]
        return rpc.StatusResponse(
            header=self._link.header(store["revision"], told["term"]),
            version=ETCD_VERSION,
            dbSize=store["size_bytes"] + told["log"]["bytes"],
            dbSizeInUse=store["size_bytes"],
            dbSizeQuota=store["quota_bytes"],
            leader=told["leader_id"],
            raftIndex=told["commit"],
            raftTerm=told["term"],
            raftAppliedIndex=told["applied"],
            errors=_errors(told),
            isLearner=told["node_id"] in told["configuration"]["learners"],
            storageVersion=STORAGE_VERSION,
        )

    async def alarm(self, request: Any, caller: Caller) -> Any:
        """Alarms are the cluster's here; the member shown is the one that was asked for, else the
        leader, which watches over the quota."""
        alarm, action = int(request.alarm), request.action
        _, revision, active = await self._alarms(caller)
        shown: list[int] = []
        if action == rpc.AlarmRequest.GET:
            shown = [one for one in active if alarm in (rpc.AlarmType_NONE, one)]
        elif alarm in _ALARMS and action in _SWITCHES:
            is_on = action == rpc.AlarmRequest.ACTIVATE
            change = (int(Op.ALARM_CHANGE), alarm, is_on)
            revision = (await self._link.ask(caller, change))[1]
            shown = [alarm] if is_on or alarm in active else []
        member = request.memberID or self._link.leader_id or self._link.node_id
        alarms = [rpc.AlarmMember(memberID=member, alarm=one) for one in shown]
        return rpc.AlarmResponse(header=self._link.header(revision), alarms=alarms)

    async def defragment(self, request: Any, caller: Caller) -> Any:
        """Nothing is to be done; etcd's answer has no header."""
        await self._check_admin(caller)
        return rpc.DefragmentResponse()

    async def hash(self, request: Any, caller: Caller) -> Any:
        """Of what this node holds now."""
        await self._check_admin(caller)
        _, revision, value, *_ = await self._hash(0)
        return rpc.HashResponse(header=self._link.header(revision), hash=value & _32_BITS)

    async def hash_kv(self, request: Any, caller: Caller) -> Any:
        """The same on every member that has the revision and compacted alike."""
        await self._check_admin(caller)
        _, revision, value, compacted, hashed = await self._hash(request.revision)
        return rpc.HashKVResponse(
            header=self._link.header(revision),
            hash=value & _32_BITS,
            compact_revision=compacted,
            hash_revision=hashed,
        )

    async def snapshot(self, request: Any, caller: Caller) -> AsyncIterator[Any]:
        """A bbolt file and its checksum, in pieces."""
        await self._check_admin(caller)
        async for message in self._snapshots(caller):
            yield message

    async def move_leader(self, request: Any, caller: Caller) -> Any:
        """As with etcd, only the leader's own gateway does it."""
        told = await self._link.status()
        if not told["leader_id"]:
            raise ApiError(Status.UNAVAILABLE, NO_LEADER)
        if told["leader_id"] != told["node_id"]:
            raise ApiError(Status.FAILED_PRECONDITION, NOT_LEADER)
        if request.targetID not in told["configuration"]["voters"]:
            raise ApiError(Status.FAILED_PRECONDITION, BAD_TRANSFEREE)
        if request.targetID != told["leader_id"]:
            move = (member_ops.MOVE_LEADER, request.targetID)
            await self._link.ask_as_gateway(move)
        return rpc.MoveLeaderResponse(header=self._link.header(told["store"]["revision"]))

    async def downgrade(self, request: Any, caller: Caller) -> Any:
        """VALIDATE tells whether the version before this one is asked for. No data here is of
        etcd's format, so there is nothing that a downgrade could do."""
        if request.action == rpc.DowngradeRequest.CANCEL:
            raise ApiError(Status.FAILED_PRECONDITION, NO_DOWNGRADE)
        if request.action not in (rpc.DowngradeRequest.VALIDATE, rpc.DowngradeRequest.ENABLE):
            raise ApiError(Status.UNKNOWN, UNKNOWN_ACTION)
        if not _VERSION.fullmatch(request.version):
            raise ApiError(Status.INVALID_ARGUMENT, BAD_VERSION)
        major, minor = (int(part) for part in CLUSTER_VERSION.split(".")[:2])
        wanted = tuple(int(part) for part in request.version.split(".")[:2])
        if wanted != (major, minor - 1):
            raise ApiError(Status.INVALID_ARGUMENT, BAD_TARGET)
        if request.action == rpc.DowngradeRequest.ENABLE:
            raise ApiError(Status.FAILED_PRECONDITION, NOT_CAPABLE)
        return rpc.DowngradeResponse(header=self._link.header(), version=CLUSTER_VERSION)

    async def _alarms(self, caller: Caller) -> tuple[int, int, list[int]]:
        status, revision, alarms = await self._link.ask(caller, (int(Op.ALARMS),))
        return status, revision, list(alarms)

    async def _hash(self, revision: int) -> tuple[int, ...]:
        question = (int(Op.HASH), revision)
        return tuple(await self._link.ask_as_gateway(question, level=ReadLevel.LOCAL))

    async def _check_admin(self, caller: Caller) -> None:
        try:
            await self._link.check(caller, Need.ADMIN)
        except ApiError as error:
            if error.message in _OF_ACCESS:
                # Of these calls etcd gives the inner error, unwrapped.
                text = error.message.replace("etcdserver:", "auth:")
                raise ApiError(Status.UNKNOWN, text) from None
            raise


def _errors(told: dict[str, Any]) -> list[str]:
    """As etcd tells them: alarms in the text form of protobuf, with a space at the end."""
    errors = [] if told["leader_id"] else [NO_LEADER]
    member = told["leader_id"] or told["node_id"]
    names = [alarm.name for alarm in schema.Alarm]
    active = [name for name in names if any(text.startswith(name) for text in told["alarms"])]
    return errors + [f"memberID:{member} alarm:{name} " for name in active]
