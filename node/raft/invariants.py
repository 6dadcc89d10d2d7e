"""What is true of every server between two messages; the simulator and tests ask after each step.

Outside the reading order. Reads the state and changes nothing; what is broken raises RaftFailed.
"""

from metastore.node.raft.changes import check_configuration
from metastore.node.raft.model import NO_NODE, Role, invariant
from metastore.node.raft.progress import Progress, ProgressState
from metastore.node.raft.state import RaftState


def check_invariants(raft: RaftState) -> None:
    """Raises RaftFailed naming the first invariant that does not hold. Costs the number of members,
    never the length of the log."""
    _check_log(raft)
    _check_role(raft)
    check_configuration(raft.configuration, raft.tracker.progress)
    invariant(
        tuple(raft.tracker.progress) == raft.configuration.all_ids(),
        "the tracked nodes are not the members of the configuration",
    )
    if raft.role is Role.LEADER:
        _check_leader(raft)
    else:
        _check_not_leader(raft)


def _check_log(raft: RaftState) -> None:
    log = raft.log
    invariant(log.last_applied <= log.applying_index, "applied what was never handed out")
    invariant(log.applying_index <= log.commit_index, "handed out what is not committed")
    invariant(log.commit_index <= log.last_index, "committed what the log does not hold")
    invariant(log.first_index <= log.commit_index + 1, "compacted what is not committed")
    unstable = log.unstable
    end = unstable.offset + len(unstable.entries)
    invariant(unstable.offset <= unstable.offset_in_progress, "in progress, but stable before")
    invariant(unstable.offset_in_progress <= end, "in progress beyond the end of the log")


def _check_role(raft: RaftState) -> None:
    if raft.role is Role.CANDIDATE:
        invariant(raft.voted_for == raft.id, "a candidate has not voted for itself")
    if raft.role in (Role.CANDIDATE, Role.PRE_CANDIDATE):
        invariant(raft.leader_id == NO_NODE, "a candidate knows a leader")
    if raft.role is Role.FOLLOWER:
        invariant(raft.leader_id != raft.id, "a follower takes itself for the leader")
    ticks = raft.config.election_timeout_ticks
    invariant(raft.randomized_election_timeout >= 1, "an election timeout of no ticks")
    invariant(raft.heartbeat_elapsed <= ticks, "the heartbeat timer runs away")
    invariant(raft.uncommitted_bytes >= 0, "less than nothing is uncommitted")


def _check_leader(raft: RaftState) -> None:
    invariant(raft.leader_id == raft.id, "a leader takes another node for the leader")
    invariant(raft.term > 0, "a leader of no term")
    invariant(raft.log.last_term == raft.term, "a leader's log does not end in its own term")
    for node, progress in raft.tracker.progress.items():
        _check_progress(raft, node, progress)
    if raft.transfer_target != NO_NODE:
        invariant(raft.transfer_target != raft.id, "a leader transfers leadership to itself")
    sequences = [read.sequence for read in raft.reads.pending]
    invariant(sequences == sorted(sequences), "pending reads are out of order")


def _check_progress(raft: RaftState, node: int, progress: Progress) -> None:
    name = f"the progress of {node:x}"
    invariant(progress.match_index <= raft.log.last_index, f"{name} matches what we do not hold")
    invariant(progress.match_index < progress.next_index, f"{name} repeats what is known")
    if progress.state is not ProgressState.SNAPSHOT and node != raft.id:
        invariant(progress.next_index <= raft.log.last_index + 1, f"{name} is past our end")
    if progress.state is not ProgressState.REPLICATE:
        invariant(progress.inflights.count == 0, f"{name} has appends in flight")
    invariant(progress.sent_commit <= raft.log.commit_index, f"{name} was told too much")


def _check_not_leader(raft: RaftState) -> None:
    invariant(raft.transfer_target == NO_NODE, "a transfer is pending without a leader")
    invariant(not raft.reads.pending, "reads are pending without a leader")
    invariant(not raft.reads.parked, "reads are parked without a leader")
