"""The text of the conformance files for entries, messages, snapshots and Ready.

Observable text only, derived from the message classes; it decides nothing. Message endpoints are
hexadecimal, every other id is decimal.
"""

import unicodedata
from collections.abc import Iterable, Iterator

from metastore.node.raft import messages as m
from metastore.node.raft.model import (
    APPEND_THREAD,
    APPLY_THREAD,
    NO_NODE,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    HardState,
    ReadState,
    Role,
    Snapshot,
    SoftState,
)
from metastore.node.raft.ready import Ready

ROLE_NAMES = {
    Role.FOLLOWER: "StateFollower",
    Role.PRE_CANDIDATE: "StatePreCandidate",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}
CHANGE_LETTERS = {
    ChangeType.ADD_VOTER: "v",
    ChangeType.ADD_LEARNER: "l",
    ChangeType.REMOVE: "r",
    ChangeType.UPDATE: "u",
}
_CONFIGURATION_ENTRY_NAMES = {
    EntryType.CONFIGURATION_V1: "EntryConfChange",
    EntryType.CONFIGURATION: "EntryConfChangeV2",
}
_ENDPOINTS = {NO_NODE: "None", APPEND_THREAD: "AppendThread", APPLY_THREAD: "ApplyThread"}
_SHORT_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quote(data: bytes) -> str:
    """Go's quoted-string form of bytes that are usually, but not always, UTF-8."""
    # surrogateescape turns a byte that is not UTF-8 into U+DC80..U+DCFF, which UTF-8 cannot hold.
    return '"' + "".join(map(_quoted, data.decode("utf-8", "surrogateescape"))) + '"'


def _quoted(character: str) -> str:
    code = ord(character)
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character == " " or unicodedata.category(character)[0] in "LMNPS":
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def describe_entry(entry: Entry) -> str:
    head = f"{entry.term}/{entry.index}"
    if entry.type is EntryType.NORMAL:
        return f"{head} EntryNormal {quote(entry.data)}"
    operations = describe_operations(ConfigurationChange.decode(entry.data))
    return f"{head} {_CONFIGURATION_ENTRY_NAMES[entry.type]} {operations}".rstrip(" ")


def describe_operations(change: ConfigurationChange) -> str:
    return " ".join(CHANGE_LETTERS[one.type] + str(one.node_id) for one in change.changes)


def describe_hard_state(state: HardState) -> str:
    vote = f" Vote:{state.voted_for}" if state.voted_for else ""
    return f"Term:{state.term}{vote} Commit:{state.commit_index}"


def describe_soft_state(state: SoftState) -> str:
    return f"Lead:{state.leader_id} State:{ROLE_NAMES[state.role]}"


def describe_configuration(state: ConfigurationState) -> str:
    def ids(values: tuple[int, ...]) -> str:
        return f"[{' '.join(map(str, values))}]"

    return (
        f"Voters:{ids(state.voters)} VotersOutgoing:{ids(state.voters_outgoing)} "
        f"Learners:{ids(state.learners)} LearnersNext:{ids(state.learners_next)} "
        f"AutoLeave:{str(state.auto_leave).lower()}"
    )


def describe_snapshot(snapshot: Snapshot) -> str:
    configuration = describe_configuration(snapshot.configuration)
    return f"Index:{snapshot.index} Term:{snapshot.term} ConfState:{configuration}"


def describe_endpoint(node_id: int) -> str:
    return _ENDPOINTS.get(node_id) or f"{node_id:x}"


def describe_message(message: m.Message, indent: str = "") -> str:
    """One message; no newline at the end. `indent` is what stands before its continuation lines."""
    return indent + "".join(_message_parts(message, indent))


def _message_parts(message: m.Message, indent: str) -> Iterator[str]:
    yield f"{describe_endpoint(message.sender)}->{describe_endpoint(message.to)} {message.name} "
    state = getattr(message, "hard_state", None) or HardState()
    term = state.term if isinstance(message, m.StorageAppend) else message.term
    log_term, index = _log_position(message)
    yield f"Term:{term} Log:{log_term}/{index}"
    if getattr(message, "rejected", False):
        yield f" Rejected (Hint: {getattr(message, 'hint_index', 0)})"
    if commit := getattr(message, "commit_index", state.commit_index):
        yield f" Commit:{commit}"
    if state.voted_for:
        yield f" Vote:{state.voted_for}"
    yield _entries_part(getattr(message, "entries", ()), indent)
    snapshot = getattr(message, "snapshot", None)
    if snapshot is not None and snapshot.index:
        yield f"\n{indent}  Snapshot: {describe_snapshot(snapshot)}"
    if responses := getattr(message, "responses", ()):
        lines = [describe_message(response, indent + "  ") for response in responses]
        yield " Responses:[\n" + "\n".join(lines) + f"\n{indent}]"


def _log_position(message: m.Message) -> tuple[int, int]:
    """(log term, index) as printed after `Log:`; zeros for messages without a log position."""
    match message:
        case m.AppendEntries():
            return message.prev_log_term, message.prev_log_index
        case m.AppendEntriesReply():
            return message.hint_term if message.rejected else 0, message.index
        case m.RequestVote() | m.RequestPreVote():
            return message.last_log_term, message.last_log_index
        case m.StorageAppendReply():
            return message.log_term, message.index
        case m.ReadIndexReply():
            return 0, message.read_index
        case _:
            return 0, 0


def _entries_part(entries: tuple[Entry, ...], indent: str) -> str:
    if not entries:
        return ""
    if len(entries) == 1:
        return f" Entries:[{describe_entry(entries[0])}]"
    lines = [f"\n{indent}  {describe_entry(entry)}" for entry in entries]
    return f" Entries:[{''.join(lines)}\n{indent}]"


def describe_ready(ready: Ready) -> str:
    parts = list(_ready_parts(ready))
    if not parts:
        return "<empty Ready>"
    return f"Ready MustSync={str(ready.must_sync).lower()}:\n" + "".join(parts)


def _ready_parts(ready: Ready) -> Iterator[str]:
    if ready.soft_state is not None:
        yield describe_soft_state(ready.soft_state) + "\n"
    if ready.hard_state is not None and not ready.hard_state.is_empty:
        yield f"HardState {describe_hard_state(ready.hard_state)}\n"
    if ready.read_states:
        yield f"ReadStates [{' '.join(map(_describe_read_state, ready.read_states))}]\n"
    yield from _listed("Entries:", map(describe_entry, ready.entries))
    if ready.snapshot is not None and ready.snapshot.index:
        yield f"Snapshot {describe_snapshot(ready.snapshot)}\n"
    yield from _listed("CommittedEntries:", map(describe_entry, ready.committed))
    yield from _listed("Messages:", map(describe_message, ready.messages))


def _describe_read_state(state: ReadState) -> str:
    return f"{{{state.read_index} [{' '.join(map(str, state.context))}]}}"


def _listed(title: str, lines: Iterable[str]) -> Iterator[str]:
    text = "".join(f"{line}\n" for line in lines)
    if text:
        yield f"{title}\n{text}"
