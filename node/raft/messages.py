"""Messages between nodes, to the storage threads and to oneself: one frozen class per message.

Reading order 2 of 12, after model.py. Values only. `name` is the word of the conformance files (and
of logs); local messages never cross the network.
"""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from metastore.node.raft.model import NO_NODE, Entry, HardState, Snapshot

_NO_SNAPSHOT = Snapshot()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    name: ClassVar[str] = ""
    sender: int = NO_NODE
    to: int = NO_NODE
    term: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign(_Message):
    """Local: start an election now."""

    name: ClassVar[str] = "MsgHup"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendHeartbeats(_Message):
    """Local: a leader's heartbeat is due."""

    name: ClassVar[str] = "MsgBeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckQuorum(_Message):
    """Local: a leader checks that it heard from a majority since the last check."""

    name: ClassVar[str] = "MsgCheckQuorum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose(_Message):
    """Entries to append (index and term unset); term stays 0. `sender` is 0 if proposed here."""

    name: ClassVar[str] = "MsgProp"
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntries(_Message):
    name: ClassVar[str] = "MsgApp"
    prev_log_index: int = 0
    prev_log_term: int = 0
    entries: tuple[Entry, ...] = ()
    commit_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntriesReply(_Message):
    """Accepted: `index` is the last entry known to match. Rejected: `index` is the prev_log_index
    refused, the hint is where the logs may still agree."""

    name: ClassVar[str] = "MsgAppResp"
    index: int = 0
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVote(_Message):
    name: ClassVar[str] = "MsgVote"
    last_log_index: int = 0
    last_log_term: int = 0
    forced: bool = False  # a transfer of leadership: bypasses the lease


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPreVote(_Message):
    name: ClassVar[str] = "MsgPreVote"
    last_log_index: int = 0
    last_log_term: int = 0
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVoteReply(_Message):
    name: ClassVar[str] = "MsgVoteResp"
    rejected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPreVoteReply(_Message):
    name: ClassVar[str] = "MsgPreVoteResp"
    rejected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSnapshot(_Message):
    name: ClassVar[str] = "MsgSnap"
    snapshot: Snapshot = _NO_SNAPSHOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(_Message):
    """`read_sequence` is the leader's newest pending read; the reply returns it (cumulative)."""

    name: ClassVar[str] = "MsgHeartbeat"
    commit_index: int = 0
    read_sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatReply(_Message):
    name: ClassVar[str] = "MsgHeartbeatResp"
    read_sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportUnreachable(_Message):
    """Local: the last message to `sender` was not delivered."""

    name: ClassVar[str] = "MsgUnreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSnapshot(_Message):
    """Local: the transfer of a snapshot to `sender` ended."""

    name: ClassVar[str] = "MsgSnapStatus"
    rejected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLeadership(_Message):
    """`sender` is the node that shall lead."""

    name: ClassVar[str] = "MsgTransferLeader"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutNow(_Message):
    name: ClassVar[str] = "MsgTimeoutNow"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetLeader(_Message):
    name: ClassVar[str] = "MsgForgetLeader"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIndex(_Message):
    """A linearizable read asks for an index; term stays 0. `context` is the asker's name for it."""

    name: ClassVar[str] = "MsgReadIndex"
    context: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIndexReply(_Message):
    name: ClassVar[str] = "MsgReadIndexResp"
    read_index: int = 0
    context: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageAppend(_Message):
    """To the append thread: make durable in this order snapshot/entries and hard state, then send
    the responses. `hard_state` is None when unchanged."""

    name: ClassVar[str] = "MsgStorageAppend"
    entries: tuple[Entry, ...] = ()
    hard_state: HardState | None = None
    snapshot: Snapshot | None = None
    responses: tuple["Message", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageAppendReply(_Message):
    """The log is durable up to (index, log_term) if it still holds that entry; 0: no entries."""

    name: ClassVar[str] = "MsgStorageAppendResp"
    index: int = 0
    log_term: int = 0
    snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageApply(_Message):
    name: ClassVar[str] = "MsgStorageApply"
    entries: tuple[Entry, ...] = ()
    responses: tuple["Message", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageApplyReply(_Message):
    name: ClassVar[str] = "MsgStorageApplyResp"
    entries: tuple[Entry, ...] = ()


Message: TypeAlias = _Message
