"""Makes a node's sockets follow the record of the members: whom it dials, lets in and shows.

Between members/keeper.py, which says when the record changed, and the sockets. On the loop.
"""

from collections.abc import Callable, Sequence

from metastore.node.members.records import Membership
from metastore.node.members.roster import Roster
from metastore.node.outbox import Outbox
from metastore.node.snapshots import SnapshotKeeper
from metastore.node.sockets import Sockets
from metastore.transport.member_ops import MemberInfo


class Following:
    """`follow` at the start and after every change of the record; `hear` what the cluster said."""

    def __init__(
        self,
        roster: Roster,
        sockets: Sockets,
        outbox: Outbox,
        snapshots: SnapshotKeeper,
        show: Callable[[Sequence[MemberInfo]], None],
    ) -> None:
        """`show` publishes the members in the status."""
        self.roster = roster
        self._sockets = sockets
        self._outbox = outbox
        self._snapshots = snapshots
        self._show = show

    def follow(self, membership: Membership) -> None:
        """Raises BadAddress for a record that planning.py would not have let in."""
        self.roster.membership = membership
        self._outbox.set_witnesses(self.roster.witness_ids)
        self._snapshots.set_witnesses(self.roster.witness_ids)
        self._show(membership.infos())
        self._set_members()

    def hear(self, members: Sequence[MemberInfo], index: int) -> None:
        """Who the members are by the record of that index, which may be ahead of this node's."""
        self.roster.told, self.roster.told_index = tuple(members), index
        self._set_members()

    def _set_members(self) -> None:
        roster = self.roster
        directories = roster.directories()
        removed = frozenset(roster.membership.removed)
        self._sockets.peers.set_members(roster.peer_addresses(), directories, removed)
        self._sockets.receiver.set_members(directories, removed)
