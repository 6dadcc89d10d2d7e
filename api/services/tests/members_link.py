"""A link whose cluster is a list of members, for the tests of the service Cluster.

Changes are carried out on the list as our leader would; it may be told to refuse the next one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.protocol.messages import rpc
from metastore.api.services.cluster import Cluster
from metastore.transport.auth_ops import PERMISSION_DENIED, Need
from metastore.transport.envelope import ReadLevel
from metastore.transport.member_ops import (
    MEMBERS,
    ChangeKind,
    MemberInfo,
    decode_member_request,
)
from metastore.transport.schema import Operation, encode_request

CALLER = Caller(token="admin")
HEADER = rpc.ResponseHeader(cluster_id=77, member_id=1, raft_term=5)
NEW_ID = (1 << 60) + 1
PLAY_S = 20.0


def info(node_id: int, role: str = "voter", state: str = "member", **more: Any) -> MemberInfo:
    places = [f"tcp://h{node_id}:{port}" for port in (1, 2, 3, 4)]
    return MemberInfo(node_id, role, state, *places, 500 + node_id, 0)._replace(**more)


class MembersLink:
    """As NodeLink, as far as the service uses it. Node 2 leads."""

    def __init__(self, members: Sequence[MemberInfo]) -> None:
        self.members = {member.node_id: member for member in members}
        self.alive = [member.node_id for member in members if member.state != "awaited"]
        self.refusal: ApiError | None = None  # of the next change
        self.may_admin = True
        self.changes: list[Any] = []
        self.levels: list[ReadLevel] = []
        self.asked_statuses: list[str] = []

    def header(self) -> Any:
        return HEADER

    async def check(self, caller: Caller, need: Need) -> None:
        if not self.may_admin:
            raise ApiError(Status.PERMISSION_DENIED, PERMISSION_DENIED)
        if (caller, need) != (CALLER, Need.ADMIN):
            raise AssertionError("asked for another right, or for somebody else")

    async def status(self, timeout_s: float | None = None, address: str = "") -> dict[str, Any]:
        self.asked_statuses.append(address)
        return {"alive": self.alive}

    async def ask_as_gateway(
        self,
        operation: Operation,
        *,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
        timeout_s: float | None = None,
    ) -> Sequence[Any]:
        request = decode_member_request(encode_request((operation,)))
        if request.operation == MEMBERS:
            self.levels.append(level)
        elif self.refusal is not None:
            raise self.refusal
        for change in request.changes:
            self._make(change)
        return (0, 2, 77, 9, tuple(map(tuple, self.members.values())))

    def _make(self, change: Sequence[Any]) -> None:
        self.changes.append(change)
        kind, node_id, *fields = change
        if kind == ChangeKind.ADD:
            role, *places, priority = fields
            self.members[node_id] = MemberInfo(node_id, role, "awaited", *places, 0, priority)
        elif kind == ChangeKind.REMOVE:
            del self.members[node_id]
        elif kind == ChangeKind.PROMOTE:
            self.members[node_id] = self.members[node_id]._replace(role="voter")
        elif kind == ChangeKind.UPDATE:
            self.members[node_id] = self.members[node_id]._replace(peer=fields[0])


def play(link: MembersLink, body: Callable[[Cluster], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(PLAY_S):
            return await body(Cluster(link, draw_id=lambda: NEW_ID))  # type: ignore[arg-type]

    return asyncio.run(main())


def answer(link: MembersLink, method: str, **fields: Any) -> Any:
    request = getattr(rpc, f"Member{method.capitalize()}Request")(**fields)
    return play(link, lambda service: getattr(service, f"member_{method}")(request, CALLER))


def refusal(link: MembersLink, method: str, **fields: Any) -> tuple[int, str]:
    try:
        answer(link, method, **fields)
    except ApiError as error:
        return int(error.code), error.message
    raise AssertionError("it was not refused")
