"""What it would mean to go on with one stopped node alone, and whether that may be: before anything
is changed.

Reading order 9 of the offline tools, before recover.py. Reads, never writes.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from metastore.engines.contract import LogRecord, RecoveredLog, SnapshotMeta
from metastore.node.identity import Identity
from metastore.node.members.records import MemberRecord, Membership
from metastore.node.offline.contents import open_contents
from metastore.node.offline.members import membership_after, membership_of
from metastore.node.offline.reading import Progress
from metastore.node.raft.model import ConfigurationState, EntryType
from metastore.transport.member_ops import Role

# How far the log goes on beyond everything that is known: the lost nodes may have gone on after
# that. Lease ids are made from indexes, and none may be given out twice.
INDEX_MARGIN = 1_000_000


class Refused(Exception):
    """Nothing was changed; the sentence says why it must not be."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`before`: the record as of what is known to be committed. `others`: everybody else who
    votes. `gone`: the highest commit index that was once known here, if the log ends before it."""

    identity: Identity
    before: Membership
    others: tuple[MemberRecord, ...]
    last_index: int
    last_term: int
    commit_index: int
    gone: int
    after: SnapshotMeta

    @property
    def removed(self) -> tuple[int, ...]:
        return tuple(sorted(set(Membership.decode(self.after.configuration).removed)))

    def sentences(self) -> list[str]:
        """What there is, what happens, what may be lost; for people."""
        voters = ", ".join(map(str, sorted(self.before.voter_ids)))
        others = ", ".join(str(member.node_id) for member in self.others)
        found = [
            f"node {self.identity.node_id} of cluster {self.identity.cluster_id}; voters so far: "
            f"{voters}",
            f"its log goes to index {self.last_index} of term {self.last_term}; committed for "
            f"certain: up to index {self.commit_index}",
        ]
        if beyond := self.last_index - self.commit_index:
            found.append(
                f"kept: the {beyond} entries after that as well, whether or not they were ever "
                "committed; a client may see a write happen that it never got an answer to"
            )
        if self.gone:
            found.append(
                f"lost: entries {self.last_index + 1} to {self.gone}, which were committed once "
                "and are gone from this disk"
            )
        found.append(
            f"lost: whatever {others} acknowledged after index {self.last_index}, if anything; "
            "nobody can tell from here"
        )
        ids = ", ".join(map(str, self.removed))
        found.append(
            f"afterwards node {self.identity.node_id} is the only member; removed for ever: {ids}. "
            "Their directories must never be started again"
        )
        return found


def make_plan(path: Path, identity: Identity, progress: Progress, *, is_forced: bool) -> Plan:
    """Of a directory that is held. Raises Refused, and what open_contents raises."""
    with open_contents(path, identity.engine, progress) as contents:
        log, applied = contents.log(), contents.stored().applied
    start = max(applied, log.snapshot, key=lambda meta: meta.index)
    if not start.index:
        raise Refused("this node has never been part of a cluster; there is nothing to recover")
    entries = [entry for entry in log.entries if entry.index > start.index]
    last = entries[-1] if entries else start
    commit = max(log.hard_state[2], start.index)
    before = _membership(start, [entry for entry in entries if entry.index <= commit])
    latest = _membership(start, entries)
    _check(identity.node_id, before, latest, is_forced=is_forced)
    voters = before.voter_ids | latest.voter_ids
    return Plan(
        identity,
        before,
        tuple(_record(before, latest, node_id) for node_id in sorted(voters - {identity.node_id})),
        last.index,
        last.term,
        commit,
        log.committed_once if log.committed_once > last.index else 0,
        _after(identity, log, last.index, max(last.term, log.hard_state[0]), (before, latest)),
    )


def _membership(start: SnapshotMeta, entries: list[LogRecord]) -> Membership:
    membership = membership_of(start, "the record of the members")
    for entry in entries:
        if entry.type != EntryType.NORMAL:
            membership = membership_after(membership, entry)
    return membership


def _check(node_id: int, before: Membership, latest: Membership, *, is_forced: bool) -> None:
    if node_id in before.removed:
        raise Refused(f"node {node_id} was removed from the cluster and must not come back")
    own = latest.get(node_id) or before.get(node_id)
    if own is not None and own.role == Role.WITNESS:
        raise Refused(f"node {node_id} is a witness and holds no data; use a node that does")
    if before.voter_ids == latest.voter_ids == {node_id}:
        raise Refused(
            f"node {node_id} is the only voter already, so no quorum is lost: just start it"
        )
    votes = node_id in before.voter_ids | latest.voter_ids
    if not votes and not is_forced:
        raise Refused(
            f"node {node_id} is no voter, so it may lack what the voters acknowledged; use a "
            "voter, or repeat with --force if no voter's disk is left"
        )


def _record(before: Membership, latest: Membership, node_id: int) -> MemberRecord:
    nowhere = MemberRecord(node_id, Role.VOTER.value, "", "", "", "")
    return latest.get(node_id) or before.get(node_id) or nowhere


def _after(
    identity: Identity,
    log: RecoveredLog,
    last_index: int,
    term: int,
    records: tuple[Membership, Membership],
) -> SnapshotMeta:
    """The beginning of the log to come: what this node has, under a term that nobody voted in."""
    node_id = identity.node_id
    index = max(last_index, log.committed_once) + INDEX_MARGIN
    gone = {
        *(one for known in records for one in (*known.removed, *known.leaving, *known.active_ids)),
        *(member.node_id for known in records for member in known.members),
    } - {node_id}
    own = replace(
        _record(*records, node_id), role=Role.VOTER.value, directory_id=identity.directory_id
    )
    configuration = ConfigurationState(voters=(node_id,))
    membership = Membership(configuration, (own,), tuple(sorted(gone)), index)
    return SnapshotMeta(index, term + 1, membership.encode())
