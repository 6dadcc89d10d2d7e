"""What the core tells about itself: one event kind per fact, with its level and its sentence.

Reading order 3 of 12. Handlers emit a kind and fields; the wording lives here alone and is part of
the conformance contract. Ids are hexadecimal (`:x`), everything else decimal.
"""

from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Any, TypeAlias

from metastore.node.raft.model import ChangeType, ConfigurationChange, Transition


class Level(IntEnum):
    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3
    FATAL = 4
    NONE = 5


_D, _I, _W, _E = Level.DEBUG, Level.INFO, Level.WARN, Level.ERROR
_MINE = "{id:x} [logterm: {last_term}, index: {last_index}, vote: {voted_for:x}]"
_THEIRS = "[logterm: {their_term}, index: {their_index}]"


class EventKind(Enum):
    """Each value: (catalogue id, level, sentence)."""

    # start and roles
    CONFIGURATION_SWITCHED = ("L24", _I, "{id:x} switched to configuration {configuration}")
    BECAME_FOLLOWER = ("L02", _I, "{id:x} became follower at term {term}")
    STARTED = (
        "L01",
        _I,
        "newRaft {id:x} [peers: [{peers}], term: {term}, commit: {commit}, applied: {applied}, "
        "lastindex: {last_index}, lastterm: {last_term}]",
    )
    BECAME_PRE_CANDIDATE = ("L03", _I, "{id:x} became pre-candidate at term {term}")
    BECAME_CANDIDATE = ("L04", _I, "{id:x} became candidate at term {term}")
    BECAME_LEADER = ("L05", _I, "{id:x} became leader at term {term}")
    # elections
    ELECTION_STARTED = ("L06", _I, "{id:x} is starting a new election at term {term}")
    VOTE_REQUESTED = (
        "L07",
        _I,
        "{id:x} [logterm: {last_term}, index: {last_index}] sent {type} request to {to:x} "
        "at term {term}",
    )
    VOTE_RECEIVED = ("L08", _I, "{id:x} received {type} from {sender:x} at term {term}")
    VOTE_REFUSAL_RECEIVED = (
        "L09",
        _I,
        "{id:x} received {type} rejection from {sender:x} at term {term}",
    )
    VOTES_COUNTED = (
        "L10",
        _I,
        "{id:x} has received {granted} {type} votes and {rejected} vote rejections",
    )
    VOTE_CAST = ("L11", _I, _MINE + " cast {type} for {sender:x} " + _THEIRS + " at term {term}")
    VOTE_REFUSED = (
        "L12",
        _I,
        _MINE + " rejected {type} from {sender:x} " + _THEIRS + " at term {term}",
    )
    VOTE_IGNORED_BY_LEASE = (
        "L13",
        _I,
        _MINE + " ignored {type} from {sender:x} " + _THEIRS + " at term {term}: "
        "lease is not expired (remaining ticks: {remaining})",
    )
    UNPROMOTABLE = ("L17", _W, "{id:x} is unpromotable and can not campaign")
    UNAPPLIED_CHANGE_BLOCKS_CAMPAIGN = (
        "",
        _W,
        "{id:x} cannot campaign at term {term} since there are still pending configuration changes "
        "to apply",
    )
    QUORUM_LOST = ("L18", _W, "{id:x} stepped down to follower since quorum is not active")
    # terms
    HIGHER_TERM_SEEN = (
        "L14",
        _I,
        "{id:x} [term: {own_term}] received a {type} message with higher term from {sender:x} "
        "[term: {term}]",
    )
    LOWER_TERM_IGNORED = (
        "L15",
        _I,
        "{id:x} [term: {own_term}] ignored a {type} message with lower term from {sender:x} "
        "[term: {term}]",
    )
    STALE_APPEND_REPLY_IGNORED = (
        "L16",
        _I,
        "{id:x} [term: {own_term}] ignored entry appends from a MsgStorageAppendResp message with "
        "lower term [term: {term}]",
    )
    # leadership
    LEADER_FORGOTTEN = ("L19", _I, "{id:x} forgetting leader {leader:x} at term {term}")
    FORGET_LEADER_REFUSED = ("L20", _E, "ignoring MsgForgetLeader due to ReadOnlyLeaseBased")
    TRANSFER_STARTED = (
        "L21",
        _I,
        "{id:x} [term {term}] starts to transfer leadership to {to:x}",
    )
    TIMEOUT_NOW_SENT = (
        "L22",
        _I,
        "{id:x} sends MsgTimeoutNow to {to:x} immediately as {to:x} already has up-to-date log",
    )
    TIMEOUT_NOW_RECEIVED = (
        "L23",
        _I,
        "{id:x} [term {term}] received MsgTimeoutNow from {sender:x} and starts an election to get "
        "leadership.",
    )
    PROPOSAL_WITHOUT_LEADER = (
        "L39",
        _I,
        "{id:x} no leader at term {term}; dropping proposal",
    )
    # configuration
    LEAVING_JOINT = (
        "L25",
        _I,
        "initiating automatic transition out of joint configuration {configuration}",
    )
    CHANGE_IGNORED = (
        "L26",
        _I,
        "{id:x} ignoring conf change {change} at config {configuration}: {reason}",
    )
    # replication and log
    APPEND_REJECTED = (
        "L27",
        _D,
        "{id:x} [logterm: {own_term}, index: {index}] rejected MsgApp "
        "[logterm: {their_term}, index: {index}] from {sender:x}",
    )
    APPEND_REJECTION_RECEIVED = (
        "L28",
        _D,
        "{id:x} received MsgAppResp(rejected, hint: (index {hint_index}, term {hint_term})) "
        "from {sender:x} for index {index}",
    )
    PROGRESS_DECREASED = ("L29", _D, "{id:x} decreased progress of {peer:x} to [{progress}]")
    PEER_UNREACHABLE = (
        "L33",
        _D,
        "{id:x} failed to send message to {peer:x} because it is unreachable [{progress}]",
    )
    CONFLICT_FOUND = (
        "L37",
        _I,
        "found conflict at index {index} [existing term: {existing_term}, "
        "conflicting term: {conflicting_term}]",
    )
    UNSTABLE_REPLACED = ("L38", _I, "replace the unstable entries from index {index}")
    UNSTABLE_TRUNCATED = ("", _I, "truncate the unstable entries before index {index}")
    STABLE_ENTRY_MISSING = (
        "L40",
        _I,
        "entry at index {index} missing from unstable log; ignoring",
    )
    STABLE_ENTRY_MISMATCHED = (
        "L41",
        _I,
        "entry at (index,term)=({index},{term}) mismatched with entry at ({index},{own_term}) in "
        "unstable log; ignoring",
    )
    # snapshots
    SNAPSHOT_SENT = (
        "L30",
        _D,
        "{id:x} [firstindex: {first_index}, commit: {commit}] sent "
        "snapshot[index: {index}, term: {term}] to {to:x} [{progress}]",
    )
    REPLICATION_PAUSED = (
        "L31",
        _D,
        "{id:x} paused sending replication messages to {to:x} [{progress}]",
    )
    SNAPSHOT_RECOVERED = (
        "L32",
        _D,
        "{id:x} recovered from needing snapshot, resumed sending replication messages to "
        "{peer:x} [{progress}]",
    )
    RESTORE_STARTED = (
        "L34",
        _I,
        "log [committed={commit}, applied={applied}, applying={applying}, "
        "unstable.offset={offset}, unstable.offsetInProgress={offset_in_progress}, "
        "len(unstable.Entries)={count}] starts to restore snapshot [index: {index}, term: {term}]",
    )
    SNAPSHOT_RESTORED = (
        "L35",
        _I,
        "{id:x} [commit: {commit}, lastindex: {last_index}, lastterm: {last_term}] restored "
        "snapshot [index: {index}, term: {term}]",
    )
    SNAPSHOT_ACCEPTED = (
        "L36",
        _I,
        "{id:x} [commit: {commit}] restored snapshot [index: {index}, term: {term}]",
    )
    # everything else, for engineers: a reason in words, DEBUG only
    DROPPED = ("", _D, "{id:x} dropped {type} from {sender:x}: {reason}")

    @property
    def level(self) -> Level:
        return self.value[1]

    def describe(self, fields: dict[str, Any]) -> str:
        """The sentence for these fields; a missing field is a KeyError."""
        return self.value[2].format(**fields)


Tracer: TypeAlias = Callable[[EventKind, dict[str, Any]], None]
"""Receives every event; must not call back into the core. None means nobody listens."""


_TRANSITIONS = {
    Transition.AUTO: "ConfChangeTransitionAuto",
    Transition.JOINT_IMPLICIT: "ConfChangeTransitionJointImplicit",
    Transition.JOINT_EXPLICIT: "ConfChangeTransitionJointExplicit",
}
_CHANGES = {
    ChangeType.ADD_VOTER: "ConfChangeAddNode",
    ChangeType.REMOVE: "ConfChangeRemoveNode",
    ChangeType.UPDATE: "ConfChangeUpdateNode",
    ChangeType.ADD_LEARNER: "ConfChangeAddLearnerNode",
}


def describe_change(change: ConfigurationChange) -> str:
    """The words for a change in CHANGE_IGNORED."""
    operations = "".join(
        f" changes:{{type:{_CHANGES[one.type]} node_id:{one.node_id}}}" for one in change.changes
    )
    return f"transition:{_TRANSITIONS[change.transition]}{operations}"
