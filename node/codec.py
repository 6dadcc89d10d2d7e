"""Messages between nodes as bytes: a msgpack array of [tag, to, term, fields...], one per message.

Between node/raft (whose messages these are) and transport/ (which carries opaque bytes). The data
of an entry is copied, never re-encoded. Bytes from outside are hostile: decoding raises
MalformedMessage and nothing else, and returns only what a node may receive: never local or storage
messages, never a term 0 where the term rule would take it for local, never a gap in the entries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgpack

from metastore.node.members.records import Membership
from metastore.node.raft import messages as m
from metastore.node.raft.model import ConfigurationState, Entry, EntryType, RaftFailed, Snapshot

PAYLOAD_BYTES_MAX = 64 << 20
MESSAGES_MAX = 1 << 16  # in one payload
ENTRIES_MAX = 1 << 17  # in one message: more than 1 MiB of empty entries
MEMBERS_MAX = 1024  # in one list of a configuration
CONTEXT_BYTES_MAX = 4096
_INTEGER_MAX = (1 << 63) - 1
_ID_MAX = (1 << 64) - 3  # above are the core's storage threads


class MalformedMessage(ValueError):
    """Bytes that no node of this version sends; the sentence says what is wrong."""


def encode_messages(messages: Sequence[m.Message]) -> bytes:
    """One payload for one peer. A message that may not leave the node is a RaftFailed."""
    rows = [_pack_message(message) for message in messages]
    return msgpack.packb(rows)  # type: ignore[no-any-return]


def decode_messages(data: bytes, sender: int) -> list[m.Message]:
    """The messages of a payload in order, from `sender` (the id that the transport verified)."""
    if len(data) > PAYLOAD_BYTES_MAX:
        raise MalformedMessage(f"{len(data)} bytes, at most {PAYLOAD_BYTES_MAX}")
    try:
        # Lists, not tuples: a tuple touches all the memory that its header only promises, and
        # nested headers would promise gigabytes in a few bytes.
        rows = msgpack.unpackb(data, use_list=True, max_array_len=ENTRIES_MAX, max_map_len=0)
    except Exception as error:
        raise MalformedMessage(f"not msgpack: {type(error).__name__}: {error}") from None
    if type(rows) is not list or len(rows) > MESSAGES_MAX:
        raise MalformedMessage(f"a payload is an array of at most {MESSAGES_MAX} messages")
    return [_unpack_message(row, sender) for row in rows]


def unpack_snapshot_facts(facts: Mapping[str, Any], sender: int, to: int) -> m.InstallSnapshot:
    """The message whose facts came with a snapshot file: `message_term`, `index`, `term` and
    `configuration` (a record of the members, which becomes the snapshot's data). As strict as for
    a message, and raises only MalformedMessage."""
    try:
        packed = _bytes(facts["configuration"])
        state = Membership.decode(packed).configuration
        lists = (state.voters, state.voters_outgoing, state.learners, state.learners_next)
        fields = [facts["index"], facts["term"], *map(list, lists), state.auto_leave, packed]
        row = [_SHAPES[m.InstallSnapshot].tag, to, facts["message_term"], fields]
    except MalformedMessage:
        raise
    except Exception as error:
        raise MalformedMessage(f"snapshot facts: {type(error).__name__}: {error}") from None
    message = _unpack_message(row, sender)
    if not isinstance(message, m.InstallSnapshot):
        raise RaftFailed(f"{message.name} made from the facts of a snapshot")
    return message


def _pack_message(message: m.Message) -> tuple[Any, ...]:
    shape = _SHAPES.get(type(message))
    if shape is None:
        raise RaftFailed(f"{message.name} never leaves its node")
    packed = [pack(getattr(message, name)) for name, pack, _ in shape.fields]
    return (shape.tag, message.to, message.term, *packed)


def _unpack_message(row: Any, sender: int) -> m.Message:
    if type(row) is not list or len(row) < 3 or type(row[0]) is not int:
        raise MalformedMessage("a message is an array of tag, to, term and its fields")
    found = _BY_TAG.get(row[0])
    if found is None:
        raise MalformedMessage(f"unknown tag {row[0]}")
    kind, shape = found
    if len(row) != 3 + len(shape.fields):
        raise MalformedMessage(f"{kind.name} has {len(shape.fields)} fields, not {len(row) - 3}")
    to, term = _node_id(row[1]), _integer(row[2])
    if shape.has_term != (term > 0):
        raise MalformedMessage(f"{kind.name} with term {term}")
    values: dict[str, Any] = {"sender": sender}
    for (name, _, unpack), value in zip(shape.fields, row[3:], strict=True):
        values[name] = unpack(value)
    message = kind(to=to, term=term, **values)
    if shape.check is not None:
        shape.check(message)
    return message


# --- values of fields


def _as_it_is(value: Any) -> Any:
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _INTEGER_MAX:
        raise MalformedMessage("a field is no whole number from 0 to 2^63-1")
    return value


def _node_id(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _ID_MAX:
        raise MalformedMessage("a field is no node id")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise MalformedMessage("a field is neither true nor false")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise MalformedMessage("a field is not bytes")
    return value


def _context(value: Any) -> bytes:
    if len(_bytes(value)) > CONTEXT_BYTES_MAX:
        raise MalformedMessage(f"a context of {len(value)} bytes, at most {CONTEXT_BYTES_MAX}")
    return value  # type: ignore[no-any-return]


def _array(value: Any, count: int) -> list[Any]:
    if type(value) is not list or len(value) != count:
        raise MalformedMessage(f"a field is no array of {count}")
    return value


def _pack_entries(entries: Sequence[Entry]) -> list[tuple[int, int, int, bytes]]:
    return [(entry.index, entry.term, entry.type, entry.data) for entry in entries]


def _unpack_entries(value: Any) -> tuple[Entry, ...]:
    if type(value) is not list:
        raise MalformedMessage("entries are no array")
    return tuple([_unpack_entry(row) for row in value])


def _unpack_entry(row: Any) -> Entry:
    index, term, kind, data = _array(row, 4)
    if type(kind) is not int or not 0 <= kind < len(_ENTRY_TYPES):
        raise MalformedMessage("an entry of unknown type")
    return Entry(_integer(term), _integer(index), _ENTRY_TYPES[kind], _bytes(data))


def _pack_snapshot(snapshot: Snapshot) -> tuple[Any, ...]:
    state = snapshot.configuration
    lists = (state.voters, state.voters_outgoing, state.learners, state.learners_next)
    return (snapshot.index, snapshot.term, *lists, state.auto_leave, snapshot.data)


def _unpack_snapshot(value: Any) -> Snapshot:
    index, term, *lists, auto_leave, data = _array(value, 8)
    voters, outgoing, learners, learners_next = map(_ids, lists)
    state = ConfigurationState(voters, outgoing, learners, learners_next, _flag(auto_leave))
    return Snapshot(_integer(index), _integer(term), state, _bytes(data))


def _ids(value: Any) -> tuple[int, ...]:
    if type(value) is not list or len(value) > MEMBERS_MAX:
        raise MalformedMessage(f"a list of members is no array of at most {MEMBERS_MAX}")
    ids = tuple(map(_node_id, value))
    if any(low >= high for low, high in pairwise(ids)):
        raise MalformedMessage("a list of members is not ascending")
    return ids


# --- what a message must be as a whole


def _check_append(message: m.AppendEntries) -> None:
    """A gap or a falling term would trip an invariant of the log and stop the node."""
    index, term = message.prev_log_index, message.prev_log_term
    for entry in message.entries:
        index += 1
        if entry.index != index:
            raise MalformedMessage(f"entry {entry.index} where {index} belongs")
        if not term <= entry.term <= message.term or not entry.term:
            raise MalformedMessage(f"entry {index} of term {entry.term} after term {term}")
        term = entry.term


def _check_propose(message: m.Propose) -> None:
    if not message.entries or any(entry.index or entry.term for entry in message.entries):
        raise MalformedMessage("a proposal is entries without index and term")


def _check_snapshot(message: m.InstallSnapshot) -> None:
    snapshot = message.snapshot
    if not snapshot.index or not 0 < snapshot.term <= message.term:
        raise MalformedMessage(f"a snapshot at index {snapshot.index} of term {snapshot.term}")
    if not snapshot.configuration.voters:
        raise MalformedMessage("a snapshot without voters")


# --- the table of messages; a tag is never used again for another meaning

_Field = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]
_ENTRY_TYPES = tuple(EntryType)


@dataclass(frozen=True, slots=True)
class _Shape:
    tag: int
    fields: tuple[_Field, ...] = ()
    check: Callable[[Any], None] | None = None
    has_term: bool = True


def _integers(*names: str) -> tuple[_Field, ...]:
    return tuple((name, _as_it_is, _integer) for name in names)


_ENTRIES: _Field = ("entries", _pack_entries, _unpack_entries)
_REJECTED: _Field = ("rejected", _as_it_is, _flag)
_FORCED: _Field = ("forced", _as_it_is, _flag)
_CONTEXT: _Field = ("context", _as_it_is, _context)
_SNAPSHOT: _Field = ("snapshot", _pack_snapshot, _unpack_snapshot)
# A transfer's sender is the node that shall lead, which need not be the node that forwards it.
_TARGET: _Field = ("sender", _as_it_is, _node_id)
_LAST_LOG = _integers("last_log_index", "last_log_term")
_PREV_LOG = _integers("prev_log_index", "prev_log_term", "commit_index")

_SHAPES: dict[type[m.Message], _Shape] = {
    m.AppendEntries: _Shape(1, (*_PREV_LOG, _ENTRIES), _check_append),
    m.AppendEntriesReply: _Shape(2, (*_integers("index", "hint_index", "hint_term"), _REJECTED)),
    m.Heartbeat: _Shape(3, _integers("commit_index", "read_sequence")),
    m.HeartbeatReply: _Shape(4, _integers("read_sequence")),
    m.RequestVote: _Shape(5, (*_LAST_LOG, _FORCED)),
    m.RequestVoteReply: _Shape(6, (_REJECTED,)),
    m.RequestPreVote: _Shape(7, (*_LAST_LOG, _FORCED)),
    m.RequestPreVoteReply: _Shape(8, (_REJECTED,)),
    m.InstallSnapshot: _Shape(9, (_SNAPSHOT,), _check_snapshot),
    m.Propose: _Shape(10, (_ENTRIES,), _check_propose, has_term=False),
    m.ReadIndex: _Shape(11, (_CONTEXT,), has_term=False),
    m.ReadIndexReply: _Shape(12, (*_integers("read_index"), _CONTEXT)),
    m.TransferLeadership: _Shape(13, (_TARGET,)),
    m.TimeoutNow: _Shape(14),
}
_BY_TAG = {shape.tag: (kind, shape) for kind, shape in _SHAPES.items()}
