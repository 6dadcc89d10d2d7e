"""What a leader does by itself for the members: it makes voters of learners that have caught up,
and hands over to whoever shall rather lead.

Beside planning.py, asked by keeper.py on every tick. Only chooses: what comes of it is planned and
checked like an operator's wish. It knows ticks only, and takes an election timeout for a second.
"""

from collections.abc import Collection

from metastore.node.members.records import MemberRecord, Membership
from metastore.node.raft.node import RaftCore
from metastore.transport.member_ops import MemberState, Role

CAUGHT_UP_ENTRIES = 1000  # behind the commit index; sent within moments, and then it votes
HANDOVER_ENTRIES = 100  # behind the last entry: no write is taken until the successor has them
HANDOVER_PAUSE_TIMEOUTS = 10  # election timeouts between two attempts to hand over


class Promotion:
    """Of one node, whether it leads or not; `alive` is always who was heard lately."""

    def __init__(self, core: RaftCore, election_timeout_ticks: int) -> None:
        self._core = core
        self._timeout_ticks = election_timeout_ticks
        self._next_look = 0  # ticks
        self._next_attempt = 0

    def is_caught_up(self, membership: Membership, alive: Collection[int], node_id: int) -> bool:
        """Whether the learner could vote at once. It must have the log beyond the entry that made
        the record, so that it knows of its own membership."""
        match_index = self._core.match_index_or_none(node_id)
        if match_index is None or node_id not in alive:
            return False
        wanted = max(membership.index, self._core.commit_index - CAUGHT_UP_ENTRIES)
        return match_index >= wanted

    def joining(self, membership: Membership) -> list[int]:
        """Learners that shall vote. More than one may have to be tried: who has not caught up may
        not, nor a witness as long as there are not enough of the others."""
        return [
            member.node_id
            for member in membership.members
            if membership.state_of(member) is MemberState.JOINING
        ]

    def successor_or_none(self, membership: Membership, alive: Collection[int]) -> int | None:
        """Whom this leader would hand over to if it had to: the highest priority, then the longest
        log."""
        candidates = [
            (member.priority, self._match_index(member), -member.node_id)
            for member in self._possible_leaders(membership, alive)
        ]
        return -max(candidates)[2] if candidates else None

    def preferred_or_none(
        self, membership: Membership, alive: Collection[int], tick: int
    ) -> int | None:
        """Whom this leader should hand over to now, because it shall rather lead. Looks once in an
        election timeout; after an answer it pauses, for a preferred node may be one that cannot
        win, or cannot stay in office."""
        if tick < max(self._next_look, self._next_attempt):
            return None
        self._next_look = tick + self._timeout_ticks
        own = membership.get(self._core.id)
        near = self._core.last_index - HANDOVER_ENTRIES
        preferred = [
            (member.priority, -member.node_id)
            for member in self._possible_leaders(membership, alive)
            if own is not None
            and member.priority > own.priority
            and self._match_index(member) >= near
        ]
        if not preferred:
            return None
        self._next_attempt = tick + HANDOVER_PAUSE_TIMEOUTS * self._timeout_ticks
        return -max(preferred)[1]

    def _match_index(self, member: MemberRecord) -> int:
        return self._core.match_index_or_none(member.node_id) or 0

    def _possible_leaders(
        self, membership: Membership, alive: Collection[int]
    ) -> list[MemberRecord]:
        """The others that can lead: voters with data, not on their way out."""
        return [
            member
            for member in membership.members
            if member.node_id in membership.configuration.voters
            and member.node_id in alive
            and member.node_id != self._core.id
            and member.role != Role.WITNESS
        ]
