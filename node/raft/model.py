"""The nouns of Raft: entries, configurations, hard and soft state, snapshots (Figure 2).

Reading order 1 of 12. Plain values only: nothing here decides, and nothing of ours is imported.
"""

from dataclasses import dataclass, field
from enum import Enum, IntEnum

NO_NODE = 0
# Reserved ids of the two storage threads in asynchronous mode; no node may use them.
APPEND_THREAD = (1 << 64) - 1
APPLY_THREAD = (1 << 64) - 2
NO_LIMIT = (1 << 63) - 1
# What one entry costs beside its data, on disk and on the wire; so every entry has a positive size.
ENTRY_OVERHEAD_BYTES = 12


class RaftFailed(Exception):
    """The core's state is impossible; the node must stop (see `invariant`)."""


class LogLost(RaftFailed):
    """The log ends before what is known to be committed: not a defect of ours, but of the disk, or
    of whoever emptied it or put an older copy back."""

    def __init__(self) -> None:
        super().__init__(
            "a commit index beyond the last entry: this node lost entries that it had acknowledged "
            "(was its data directory emptied, or put back from an older copy?); run `metastore "
            "member replace N` with its node_id, then start it with an empty data_dir and --join"
        )


def invariant(condition: bool, sentence: str) -> None:
    """Raises RaftFailed with the sentence unless the condition holds; `python -O` keeps it."""
    if not condition:
        raise RaftFailed(sentence)


class Role(Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class EntryType(IntEnum):
    NORMAL = 0
    CONFIGURATION_V1 = 1  # exactly one change, always simple
    CONFIGURATION = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One log entry. `data` is opaque for NORMAL, an encoded ConfigurationChange otherwise."""

    term: int
    index: int
    type: EntryType = EntryType.NORMAL
    data: bytes = b""

    @property
    def size_bytes(self) -> int:
        return len(self.data) + ENTRY_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class HardState:
    """What must be durable before any message that promises it leaves."""

    term: int = 0
    voted_for: int = NO_NODE
    commit_index: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.term or self.voted_for or self.commit_index)


@dataclass(frozen=True, slots=True)
class SoftState:
    leader_id: int = NO_NODE
    role: Role = Role.FOLLOWER


@dataclass(frozen=True, slots=True)
class ConfigurationState:
    """A configuration as snapshots carry it; ids ascending."""

    voters: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State up to and including `index`. Index 0 means: no snapshot. `data` may be empty when the
    runtime moves the state itself by other means (files, chunks)."""

    index: int = 0
    term: int = 0
    configuration: ConfigurationState = field(default_factory=ConfigurationState)
    data: bytes = b""


class ChangeType(IntEnum):
    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    ADD_LEARNER = 3


class Transition(IntEnum):
    AUTO = 0
    JOINT_IMPLICIT = 1  # joint, left automatically
    JOINT_EXPLICIT = 2  # joint, left by an empty change


@dataclass(frozen=True, slots=True)
class Change:
    type: ChangeType
    node_id: int


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """A proposal to change the configuration; empty with AUTO it means "leave the joint one"."""

    changes: tuple[Change, ...] = ()
    transition: Transition = Transition.AUTO
    context: bytes = b""

    @property
    def is_leave_joint(self) -> bool:
        return not self.changes and self.transition is Transition.AUTO

    def encode(self) -> bytes:
        """Bytes for Entry.data: transition, count, then (type, 8-byte id) each, then the context.
        The empty automatic change without context is empty bytes."""
        if self.is_leave_joint and not self.context:
            return b""
        head = bytes((self.transition, len(self.changes)))
        body = b"".join(bytes((c.type,)) + c.node_id.to_bytes(8, "big") for c in self.changes)
        return head + body + self.context

    @classmethod
    def decode(cls, data: bytes) -> "ConfigurationChange":
        """Raises ValueError on bytes that `encode` cannot have made."""
        if not data:
            return cls()
        if len(data) < 2 or len(data) < 2 + 9 * data[1]:
            raise ValueError(f"a configuration change is cut short at {len(data)} bytes")
        end = 2 + 9 * data[1]
        changes = tuple(
            Change(ChangeType(data[i]), int.from_bytes(data[i + 1 : i + 9], "big"))
            for i in range(2, end, 9)
        )
        return cls(changes, Transition(data[0]), data[end:])


@dataclass(frozen=True, slots=True)
class ReadState:
    """A read may be served once last_applied >= read_index; `context` is what the caller gave."""

    read_index: int
    context: bytes
