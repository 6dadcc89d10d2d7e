"""Where everybody is, from what a node knows at the moment: for dialling, admission and clients.

Above records.py, on the loop. The replicated record decides who is a member; the settings' list
only adds places where a member may be found, since a whole cluster can have moved while it was
down. A node that is still to join has no record, and one that was away has an old one: they go by
what the leader told them when they registered.
"""

from collections.abc import Mapping, Sequence

from metastore.node.members.records import MemberRecord, Membership
from metastore.node.settings import Settings
from metastore.node.settings_values import Member
from metastore.transport.member_ops import MemberInfo, MemberState, Role


def to_record(member: Member) -> MemberRecord:
    """Of a member as settings name it."""
    return MemberRecord(member.node_id, member.role, *member.addresses)


def own_record(settings: Settings, places: Sequence[str], directory_id: int) -> MemberRecord:
    """What this node tells the cluster of itself at every start."""
    peer, client, status, snapshot = places
    return MemberRecord(
        settings.node_id,
        settings.role,
        peer,
        client,
        status,
        snapshot,
        directory_id=directory_id,
        name=settings.name,
        client_urls=",".join(settings.etcd_advertise),
    )


class Roster:
    """`membership` and `told` are replaced as news come; everything else is computed from them."""

    def __init__(
        self,
        own_id: int,
        membership: Membership,
        hints: Sequence[MemberRecord],
        dial: Mapping[int, str],
    ) -> None:
        """`dial`: members that this node reaches at one place of its own, and nowhere else."""
        self._own_id = own_id
        self._dial = dial
        self._hints = {hint.node_id: hint for hint in hints}
        self.membership = membership
        self.told: Sequence[MemberInfo] = ()  # by the leader, when this node registered
        self.told_index = 0

    @property
    def _members(self) -> Sequence[MemberRecord | MemberInfo]:
        """Those with whom there is traffic. What the leader said counts as long as the record here
        is older: it may lack the leader itself, or know it with a disk that it has no more, and a
        node that does not let its leader in would never get a newer one."""
        active = self.membership.active_ids
        found: dict[int, MemberRecord | MemberInfo]
        found = {m.node_id: m for m in self.membership.members if m.node_id in active}
        if self.membership.index < self.told_index:
            found |= {i.node_id: i for i in self.told if i.state != MemberState.AWAITED}
        return list(found.values())

    @property
    def own(self) -> MemberRecord | None:
        return self.membership.get(self._own_id)

    @property
    def is_witness(self) -> bool:
        return self.own is not None and self.own.role == Role.WITNESS

    @property
    def witness_ids(self) -> frozenset[int]:
        members = self.membership.members
        return frozenset(m.node_id for m in members if m.role == Role.WITNESS)

    def peer_addresses(self) -> dict[int, list[str]]:
        """Of every other member, where to dial, the likeliest place first."""
        return {
            member.node_id: self._places(member)
            for member in self._members
            if member.node_id != self._own_id
        }

    def _places(self, member: MemberRecord | MemberInfo) -> list[str]:
        pinned = self._dial.get(member.node_id)
        hint = self._hints.get(member.node_id)
        return [pinned] if pinned else _distinct(member.peer, hint.peer if hint else "")

    def directories(self) -> Mapping[int, int]:
        """The data directory that each other member must have; 0: any."""
        others = (member for member in self._members if member.node_id != self._own_id)
        return {member.node_id: member.directory_id for member in others}

    def snapshot_address_or_none(self, node_id: int) -> str | None:
        member = self.membership.get(node_id)
        return member.snapshot if member is not None else None

    def client_addresses(self) -> list[str]:
        """Of the others, for a node that has to ask the cluster."""
        found = [m.client for m in self._members if m.node_id != self._own_id]
        found += [hint.client for hint in self._hints.values() if hint.node_id != self._own_id]
        return _distinct(*found)

    def shown_to_clients(self) -> list[tuple[int, str, str]]:
        """(node id, client address, status address); no client can use a witness."""
        return [
            (m.node_id, "" if m.role == Role.WITNESS else m.client, m.status) for m in self._members
        ]


def _distinct(*addresses: str) -> list[str]:
    return [address for address in dict.fromkeys(addresses) if address]
