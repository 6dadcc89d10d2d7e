"""Cluster of etcd: who the members are, where their gateways are, and changes of them.

A member is our member: its id is the node's, its peer URL that of its peer socket. One that was
added is awaited until a node with its id comes; it has no name and no client URLs until then, and
if it shall vote it gets everything first. The rules are in reconfiguration.py. Beside a right for
changes nothing is decided here.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from metastore.api.calls import ApiError, Caller
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.services import reconfiguration as rules
from metastore.client import members
from metastore.client.etcd_places import Place
from metastore.transport import member_ops
from metastore.transport.auth_ops import Need
from metastore.transport.envelope import ReadLevel
from metastore.transport.member_ops import Change, MemberInfo, MemberState, Role
from metastore.transport.schema import Operation
from metastore.transport.urls import peer_url

# Of a change: two commits and, if the leader has to hand over first, an election.
CHANGE_S_MAX = 15.0
STATUS_S_MAX = 2.0
# Clients take ids for random numbers above 2^53, and some keep them in 63 bits.
NODE_ID_MIN, NODE_ID_MAX = (1 << 53) + 1, (1 << 63) - 1


class _Known(NamedTuple):
    leader_id: int
    members: Sequence[MemberInfo]


def draw_node_id() -> int:
    return random.SystemRandom().randint(NODE_ID_MIN, NODE_ID_MAX)


class Cluster:
    """`draw_id`: the id of a new member."""

    def __init__(self, link: NodeLink, draw_id: Callable[[], int] = draw_node_id) -> None:
        self._link = link
        self._draw_id = draw_id

    async def member_list(self, request: Any, caller: Caller) -> Any:
        """No right is needed for it. Not linearizable: as the gateway's own node knows them."""
        level = ReadLevel.LINEARIZABLE if request.linearizable else ReadLevel.LOCAL
        known = await self._ask(member_ops.members(), level)
        return rpc.MemberListResponse(header=self._link.header(), members=_shown(known.members))

    async def member_add(self, request: Any, caller: Caller) -> Any:
        """A member has one peer URL here: the first one counts."""
        urls = rules.parse_peer_urls(request.peerURLs)
        await self._link.check(caller, Need.ADMIN)
        known = await self._ask(member_ops.members())
        alive = await self._alive(known)
        rules.check_may_add(known.members, alive, urls, is_learner=request.isLearner)
        place = Place(urls[0].host, urls[0].port)
        role = Role.LEARNER if request.isLearner else Role.VOTER
        node_id = self._draw_id()
        change = members.add(
            node_id,
            role=role.value,
            peer=place.address("peer"),
            client=place.address("client"),
            status=place.address("status"),
            snapshot=place.address("snapshot"),
        )
        after = await self._change(change, peer=place.address("peer"))
        return rpc.MemberAddResponse(
            header=self._link.header(),
            member=_member(rules.find_member(after, node_id)),
            members=_shown(after),
        )

    async def member_remove(self, request: Any, caller: Caller) -> Any:
        """For ever: an id never comes back."""
        await self._link.check(caller, Need.ADMIN)
        known = await self._ask(member_ops.members())
        leaving = rules.find_member(known.members, request.ID)
        rules.check_may_remove(known.members, leaving)
        after = await self._change(members.remove(leaving.node_id))
        return rpc.MemberRemoveResponse(header=self._link.header(), members=_shown(after))

    async def member_update(self, request: Any, caller: Caller) -> Any:
        """Where the others reach it; it tells its own address again when it is started."""
        await self._link.check(caller, Need.ADMIN)
        known = await self._ask(member_ops.members())
        moving = rules.find_member(known.members, request.ID)
        urls = rules.parse_peer_urls(request.peerURLs)
        others = [member for member in known.members if member.node_id != moving.node_id]
        rules.check_places(others, urls)
        peer = str(urls[0].address)
        after = await self._change(members.update(moving.node_id, peer=peer), peer=peer)
        return rpc.MemberUpdateResponse(header=self._link.header(), members=_shown(after))

    async def member_promote(self, request: Any, caller: Caller) -> Any:
        await self._link.check(caller, Need.ADMIN)
        known = await self._ask(member_ops.members())
        learner = rules.find_member(known.members, request.ID)
        rules.check_may_promote(known.members, learner)
        after = await self._change(members.promote(learner.node_id), is_promotion=True)
        return rpc.MemberPromoteResponse(header=self._link.header(), members=_shown(after))

    async def _ask(
        self,
        operation: Operation,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
        timeout_s: float | None = None,
    ) -> _Known:
        result = await self._link.ask_as_gateway(operation, level=level, timeout_s=timeout_s)
        return _Known(result[1], [MemberInfo(*fields) for fields in result[4]])

    async def _change(
        self, change: Change, *, peer: str = "", is_promotion: bool = False
    ) -> Sequence[MemberInfo]:
        operation = members.change_of([change], force=False)
        try:
            known = await self._ask(operation, timeout_s=CHANGE_S_MAX)
        except ApiError as error:
            raise rules.in_etcds_words(error, peer=peer, is_promotion=is_promotion) from None
        return known.members

    async def _alive(self, known: _Known) -> Sequence[int]:
        """Whom the leader has heard of late: it hears everybody, the others hear only the
        leader."""
        places = {member.node_id: member.status for member in known.members}
        told = await self._link.status(STATUS_S_MAX, places.get(known.leader_id, ""))
        alive: Sequence[int] = told["alive"]
        return alive


def _shown(known: Sequence[MemberInfo]) -> Sequence[Any]:
    """In the order of etcd: by id."""
    return [_member(member) for member in sorted(known, key=lambda member: member.node_id)]


def _member(member: MemberInfo) -> Any:
    """A name says that it has been started, client URLs that it can be asked."""
    is_started = member.state != MemberState.AWAITED
    return rpc.Member(
        ID=member.node_id,
        name=(member.name or f"node-{member.node_id}") if is_started else "",
        peerURLs=[peer_url(member.peer)],
        clientURLs=filter(None, member.client_urls.split(",")) if is_started else (),
        isLearner=member.role == Role.LEARNER,
    )
