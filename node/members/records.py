"""The replicated record of the members: a value, and how an entry of the log changes it.

The bottom of node/members. Raft's own part of it, who votes and who listens, is computed by the
core (raft/changes.py); beside it stand the members' addresses, roles and data directories.
Deterministic: every node that applied the same entries has the same record.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import msgpack

from metastore.node.raft.model import ConfigurationState
from metastore.transport.member_ops import MemberInfo, MemberState, Role

_FORMAT = 2
_FORMAT_WITHOUT_NAMES = 1  # of releases before the etcd API; still read


class RecordDamaged(Exception):
    """Bytes that are no record of members of this version."""


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """One member. `role` is what it shall be: one that shall vote is among Raft's learners until it
    has caught up. `directory_id` names its data directory; 0: not known yet, the next one that
    registers is taken. A higher `priority` shall lead. `name` and `client_urls` (with commas) are
    for clients of etcd, and no part of what the cluster does."""

    node_id: int
    role: str
    peer: str
    client: str
    status: str
    snapshot: str
    directory_id: int = 0
    priority: int = 0
    name: str = ""
    client_urls: str = ""

    @property
    def addresses(self) -> tuple[str, str, str, str]:
        return (self.peer, self.client, self.status, self.snapshot)

    @property
    def votes(self) -> bool:
        """Whether it shall vote."""
        return self.role != Role.LEARNER


@dataclass(frozen=True, slots=True)
class Membership:
    """`members` by id: everybody in the configuration, and those awaited, who are in neither part
    of it. `removed`: ids that must never come back. `index`: of the entry that made this record.
    `leaving`: to be removed as soon as the joint configuration, which needs their votes, is left.
    """

    configuration: ConfigurationState = field(default_factory=ConfigurationState)
    members: tuple[MemberRecord, ...] = ()
    removed: tuple[int, ...] = ()
    index: int = 0
    leaving: tuple[int, ...] = ()

    def get(self, node_id: int) -> MemberRecord | None:
        return next((member for member in self.members if member.node_id == node_id), None)

    @property
    def voter_ids(self) -> frozenset[int]:
        """Voters of either half of the configuration."""
        return frozenset(self.configuration.voters + self.configuration.voters_outgoing)

    @property
    def active_ids(self) -> frozenset[int]:
        """Everybody in the configuration."""
        state = self.configuration
        return self.voter_ids | frozenset(state.learners + state.learners_next)

    def state_of(self, member: MemberRecord) -> MemberState:
        state, node_id = self.configuration, member.node_id
        if node_id in state.voters:
            return MemberState.MEMBER
        if node_id in state.voters_outgoing:
            return MemberState.LEAVING
        if node_id in state.learners:
            return MemberState.JOINING if member.votes else MemberState.MEMBER
        return MemberState.AWAITED

    def infos(self) -> list[MemberInfo]:
        """As answers tell it."""
        return [
            MemberInfo(
                member.node_id,
                member.role,
                self.state_of(member).value,
                *member.addresses,
                member.directory_id,
                member.priority,
                member.name,
                member.client_urls,
            )
            for member in self.members
        ]

    def changed(
        self,
        configuration: ConfigurationState,
        *,
        put: Iterable[MemberRecord] = (),
        removed: Iterable[int] = (),
        index: int,
    ) -> "Membership":
        """The record after an entry: these members put in or replaced, those ids gone for ever.

        Whoever still has to vote in the half that is being left keeps its record until it is left.
        Whoever is out of the configuration and not gone is awaited, with any data directory."""
        after = replace(self, configuration=configuration)
        active = after.active_ids
        going = set(removed).union(self.leaving)
        by_id = {member.node_id: member for member in self.members}
        by_id |= {member.node_id: member for member in put}
        for node_id in self.active_ids - active:
            if node_id in by_id:
                by_id[node_id] = replace(by_id[node_id], directory_id=0)
        gone = going - active
        return replace(
            after,
            members=tuple(by_id[node_id] for node_id in sorted(by_id) if node_id not in gone),
            removed=tuple(sorted(gone.union(self.removed))),
            index=index,
            leaving=tuple(sorted(going & active)),
        )

    def encode(self) -> bytes:
        """The `configuration` of a SnapshotMeta."""
        state = self.configuration
        parts = (
            state.voters,
            state.voters_outgoing,
            state.learners,
            state.learners_next,
            state.auto_leave,
        )
        members = [astuple(member) for member in self.members]
        return msgpack.packb(  # type: ignore[no-any-return]
            (_FORMAT, parts, members, self.removed, self.index, self.leaving)
        )

    @classmethod
    def decode(cls, data: bytes) -> "Membership":
        """Empty bytes are nobody: a node that is to join has no record yet. Raises
        RecordDamaged."""
        if not data:
            return cls()
        try:
            version, parts, members, removed, index, leaving = msgpack.unpackb(data, use_list=False)
            _check_format(version)
            if type(index) is not int:
                raise RecordDamaged("the index of an entry is a number")
            records = _records(version, members)
            return cls(_configuration(parts), records, _ids(removed), index, _ids(leaving))
        except RecordDamaged:
            raise
        except Exception as error:  # the decoder's own errors have no common base
            raise RecordDamaged(f"no record of members: {_shown(error)}") from None


def first_membership(members: Sequence[MemberRecord], index: int) -> Membership:
    """Of a new cluster: the same on every node, whoever computes it."""
    ordered = tuple(sorted(members, key=lambda member: member.node_id))
    voters = tuple(member.node_id for member in ordered if member.votes)
    learners = tuple(member.node_id for member in ordered if not member.votes)
    return Membership(ConfigurationState(voters=voters, learners=learners), ordered, (), index)


def encode_edits(put: Iterable[MemberRecord] = (), removed: Iterable[int] = ()) -> bytes:
    """The `context` of a ConfigurationChange: what it does to the record beside Raft's part."""
    records = [astuple(member) for member in put]
    return msgpack.packb((_FORMAT, records, list(removed)))  # type: ignore[no-any-return]


def decode_edits(data: bytes) -> tuple[tuple[MemberRecord, ...], tuple[int, ...]]:
    """(members to put, ids to remove). Raises RecordDamaged."""
    if not data:
        return (), ()
    try:
        version, records, removed = msgpack.unpackb(data, use_list=False)
        _check_format(version)
        return _records(version, records), _ids(removed)
    except RecordDamaged:
        raise
    except Exception as error:  # the decoder's own errors have no common base
        raise RecordDamaged(f"no edits of the members: {_shown(error)}") from None


def _shown(error: Exception) -> str:
    """Not its repr: that of msgpack's ExtraData holds what was decoded, however deep and long."""
    return f"{type(error).__name__}: {error}"


# They come from other nodes, too: what has a wrong type must not get as far as a socket.
_RECORD_TYPES = (int, str, str, str, str, str, int, int, str, str)
_TYPES_BY_FORMAT = {_FORMAT_WITHOUT_NAMES: _RECORD_TYPES[:-2], _FORMAT: _RECORD_TYPES}


def _check_format(version: Any) -> None:
    if version not in _TYPES_BY_FORMAT:
        raise RecordDamaged(f"members of format {version}, not {_FORMAT}")


def _records(version: int, members: Any) -> tuple[MemberRecord, ...]:
    for values in members:
        if tuple(map(type, values)) != _TYPES_BY_FORMAT[version] or values[1] not in tuple(Role):
            raise RecordDamaged("a member has fields that no member has")
    return tuple(MemberRecord(*values) for values in members)


def _configuration(parts: Any) -> ConfigurationState:
    *lists, auto_leave = parts
    if len(lists) != 4 or type(auto_leave) is not bool:
        raise RecordDamaged("a configuration is four lists and a flag")
    voters, outgoing, learners, learners_next = map(_ids, lists)
    return ConfigurationState(voters, outgoing, learners, learners_next, auto_leave)


def _ids(values: Any) -> tuple[int, ...]:
    if type(values) is not tuple or any(type(value) is not int for value in values):
        raise RecordDamaged("ids are numbers")
    return values
