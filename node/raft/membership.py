"""Changes of the configuration: applying them, and leaving a joint one automatically (§4 of the
dissertation, §6 of the paper).

Reading order 12 of 12. A change takes effect when it is applied, never when it is appended.
"""

from metastore.node.raft.configuration import Configuration
from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.events import EventKind
from metastore.node.raft.messages import Propose
from metastore.node.raft.model import (
    NO_NODE,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    Role,
)
from metastore.node.raft.progress import Progress
from metastore.node.raft.proposals import on_propose_as_leader
from metastore.node.raft.reads import release_confirmed
from metastore.node.raft.replication import advance_commit, maybe_send_append
from metastore.node.raft.state import RaftState


def apply_change(raft: RaftState, change: ConfigurationChange) -> ConfigurationState:
    """Applies a committed change. Raises ChangeRefused, with nothing changed, if it cannot be."""
    configuration, progress = raft.changer().make(change)
    return _switch(raft, configuration, progress)


def _switch(
    raft: RaftState, configuration: Configuration, progress: dict[int, Progress]
) -> ConfigurationState:
    raft.install_configuration(configuration, progress)
    if raft.role is not Role.LEADER:
        return configuration.to_state()
    own = progress.get(raft.id)
    if own is None or own.is_learner:
        # Else it goes on leading without counting itself, until the others elect somebody (§4.2.2).
        if raft.config.step_down_on_removal:
            raft.become_follower(raft.term, NO_NODE)
        return configuration.to_state()
    if not configuration.voters:
        return configuration.to_state()
    # The quorum that gave the lease may share no node with a quorum two changes later.
    raft.reads.end_lease()
    # A smaller quorum may commit more, and new nodes have to be probed.
    if not advance_commit(raft):
        for node in raft.tracker.ids:
            if node != raft.id:
                maybe_send_append(raft, node, even_empty=False)
    release_confirmed(raft)
    if raft.transfer_target not in configuration.all_voters:
        raft.transfer_target = NO_NODE
    return configuration.to_state()


def maybe_leave_joint(raft: RaftState) -> None:
    """Proposes the way out of an implicit joint configuration, once the way in is applied."""
    if (
        not raft.configuration.auto_leave
        or raft.role is not Role.LEADER
        or raft.log.last_applied < raft.pending_change_index
    ):
        return
    leave = Propose(entries=(Entry(0, 0, EntryType.CONFIGURATION),))
    try:
        on_propose_as_leader(raft, leave)
    except ProposalDropped:
        # For instance during a transfer; the next applied entry tries again.
        return raft.drop(leave, "not initiating automatic transition out of joint configuration")
    raft.emit(EventKind.LEAVING_JOINT, configuration=raft.configuration)
