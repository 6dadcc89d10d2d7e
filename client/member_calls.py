"""The calls about the members of the cluster: who they are, other ones, and who leads.

Reading order 22 of the client, beside coordination.py. All of them are sent again until their time
is up, whoever leads; what is so already is answered as if it had just been done.
"""

import time
from collections.abc import Sequence

from metastore.client import members
from metastore.client.caller import Caller
from metastore.client.calls import to_level
from metastore.client.futures import decode_only
from metastore.client.member_results import LeaderMoved, Member, MemberList
from metastore.client.results import BatchResult
from metastore.transport import member_ops
from metastore.transport.member_ops import Change
from metastore.transport.schema import Operation

# Of a change: two commits and, if the leader has to hand over first, an election.
CHANGE_S_MIN = 15.0


class MemberCalls(Caller):
    """A change returns the members as they are after it, by id. Without `timeout_s` it may take as
    long as the client's limit, and at least 15 seconds. What the leader refuses is InvalidRequest
    with its words, `code` 5 (there is no such member), 9 (it cannot be now) or 3; with
    OutcomeUnknown it may be repeated as it is."""

    def members(
        self, *, level: str = "linearizable", timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        """Who they are, by id; those still awaited, too. For when no leader can be had:
        known_nodes."""
        results = self._do([member_ops.members()], timeout_s, to_level(level))
        return decode_only(results, MemberList).members

    def member_add(
        self,
        node_id: int,
        *,
        peer: str,
        client: str,
        status: str,
        snapshot: str,
        role: str = "voter",
        priority: int = 0,
        timeout_s: float | None = None,
    ) -> tuple[Member, ...]:
        """Expects a new node, which has to be started then, to join. It gets everything that there
        is before it votes. role: "voter", "learner" or "witness"."""
        change = members.add(
            node_id,
            peer=peer,
            client=client,
            status=status,
            snapshot=snapshot,
            role=role,
            priority=priority,
        )
        return self.member_change([change], timeout_s=timeout_s)

    def member_promote(
        self, node_id: int, *, force: bool = False, timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        """A learner shall vote; refused until it has caught up."""
        changes = [members.promote(node_id)]
        return self.member_change(changes, force=force, timeout_s=timeout_s)

    def member_remove(
        self, *node_ids: int, force: bool = False, timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        """For ever, all of them at once. Refused if those that answer could not go on without them,
        unless `force`."""
        changes = [members.remove(node_id) for node_id in node_ids]
        return self.member_change(changes, force=force, timeout_s=timeout_s)

    def member_update(
        self,
        node_id: int,
        *,
        peer: str | None = None,
        client: str | None = None,
        status: str | None = None,
        snapshot: str | None = None,
        priority: int | None = None,
        timeout_s: float | None = None,
    ) -> tuple[Member, ...]:
        """Where it is to be found from now on; None: as it is. (A node tells its addresses itself
        at every start.)"""
        change = members.update(
            node_id, peer=peer, client=client, status=status, snapshot=snapshot, priority=priority
        )
        return self.member_change([change], timeout_s=timeout_s)

    def member_replace(
        self, node_id: int, *, force: bool = False, timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        """Its disk is gone: it does not vote any more, and is awaited with an empty directory."""
        deadline = time.monotonic() + self._change_limit(timeout_s)
        known = self.members(timeout_s=deadline - time.monotonic())
        change = members.replacement_of(known, node_id)
        left_s = deadline - time.monotonic()
        return self.member_change([change], force=force, timeout_s=left_s)

    def member_change(
        self, changes: Sequence[Change], *, force: bool = False, timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        """Changes made by metastore.client.members, all at once or none."""
        done = self._change(members.change_of(changes, force=force), timeout_s)
        return decode_only(done, MemberList).members

    def move_leader(self, node_id: int = 0, *, timeout_s: float | None = None) -> int:
        """Lets another member lead, 0: whichever suits best; the id of the new leader."""
        done = self._change(members.move_of(node_id), timeout_s)
        return decode_only(done, LeaderMoved).leader_id

    def _change(self, operation: Operation, timeout_s: float | None) -> list[BatchResult]:
        return self._do([operation], self._change_limit(timeout_s))

    def _change_limit(self, timeout_s: float | None) -> float:
        return change_limit(self._timeout_s, timeout_s)


def change_limit(client_s: float, timeout_s: float | None) -> float:
    """Seconds that a change may take in a client whose calls may take `client_s`."""
    return max(client_s, CHANGE_S_MIN) if timeout_s is None else timeout_s
