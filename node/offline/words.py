"""Requests, entries and facts in words, for people.

Reading order 7 of the offline tools. Pure; whatever the bytes, it finds a word and raises nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

from metastore.engines.contract import LogRecord
from metastore.node.members.records import RecordDamaged, decode_edits
from metastore.node.raft.model import ChangeType, ConfigurationChange, EntryType
from metastore.transport.auth_ops import AuthAction, Need, Permission
from metastore.transport.schema import (
    Alarm,
    CompareResult,
    CompareTarget,
    Flag,
    Op,
    decode_batch,
    decode_internal_or_none,
    decode_request,
)

BYTES_SHOWN_MAX = 64  # of one key or value

_SIGNS = {
    CompareResult.EQUAL: "=",
    CompareResult.GREATER: ">",
    CompareResult.LESS: "<",
    CompareResult.NOT_EQUAL: "!=",
}


def type_of(entry: LogRecord) -> str:
    try:
        return EntryType(entry.type).name.lower()
    except ValueError:
        return f"unknown type {entry.type}"


def requests_of(entry: LogRecord) -> list[list[str]]:
    """Per request of the entry its operations in words."""
    if entry.type in (EntryType.CONFIGURATION, EntryType.CONFIGURATION_V1):
        return [[configuration_change(entry.data)]]
    if not entry.data:
        return []
    try:
        batch = decode_batch(entry.data)
        internal = decode_internal_or_none(batch)
    except Exception as error:
        return [[f"{len(entry.data)} bytes that are no batch of requests ({error})"]]
    if internal is not None:
        term, operations = internal
        return [[f"the leader of term {term}: " + "; ".join(map(in_words, operations))]]
    return [_request(request) for request in batch]


def _request(data: Any) -> list[str]:
    try:
        return [in_words(operation) for operation in decode_request(data)]
    except Exception as error:
        return [f"a request that is refused ({error})"]


def configuration_change(data: bytes) -> str:
    try:
        change = ConfigurationChange.decode(data)
    except ValueError as error:
        return f"a change of members that cannot be read ({error})"
    if change.is_leave_joint:
        return "leave the joint configuration" + _edits(change.context)
    words = [
        f"{ChangeType(one.type).name.lower().replace('_', ' ')} {one.node_id}"
        for one in change.changes
    ]
    return "members: " + (", ".join(words) or "no change") + _edits(change.context)


def _edits(context: bytes) -> str:
    """What else an entry says of the members, beside who votes and who listens."""
    try:
        put, removed = decode_edits(context)
    except RecordDamaged as error:
        return f"; edits that cannot be read ({error})"
    words = [
        f"; {member.node_id} is a {member.role} at {', '.join(member.addresses)} "
        f"(directory {member.directory_id:x}, priority {member.priority})"
        for member in put
    ]
    words += [f"; {node_id} is gone for ever" for node_id in removed]
    return "".join(words)


def in_words(operation: Sequence[Any]) -> str:
    """An operation of schema.py."""
    code, *fields = operation
    say = _WORDS.get(code)
    return f"operation {code}" if say is None else say(*fields)


def shown(data: bytes) -> str:
    """As text where it is some, cut where it is long."""
    cut = data[:BYTES_SHOWN_MAX]
    try:
        text = repr(cut.decode())
    except UnicodeDecodeError:
        text = repr(cut)
    return text if len(cut) == len(data) else f"{text}… ({len(data)} bytes)"


def keys_shown(key: bytes, range_end: bytes) -> str:
    if not range_end:
        return shown(key)
    if range_end == b"\0":
        return f"all keys from {shown(key)}" if key not in (b"", b"\0") else "all keys"
    return f"{shown(key)} to {shown(range_end)}"


def _put(key: bytes, value: bytes, lease: int, flags: int) -> str:
    stored = "the value it has" if flags & Flag.IGNORE_VALUE else shown(value)
    under = f" under lease {lease:x}" if lease else ""
    under = " under the lease it has" if flags & Flag.IGNORE_LEASE else under
    return f"put {shown(key)} = {stored}{under}"


def _delete(key: bytes, range_end: bytes, flags: int) -> str:
    return f"delete {keys_shown(key, range_end)}"


def _range(key: bytes, range_end: bytes, limit: int, revision: int, *_: int) -> str:
    bound = f", at most {limit}" if limit else ""
    at = f", at revision {revision}" if revision else ""
    return f"read {keys_shown(key, range_end)}{bound}{at}"


def _txn(compares: Any, success: Any, failure: Any) -> str:
    conditions = " and ".join(_compare(*one) for one in compares) or "always"
    branches = ["; ".join(map(in_words, branch)) or "nothing" for branch in (success, failure)]
    return f"if {conditions} then [{branches[0]}] else [{branches[1]}]"


def _compare(result: int, target: int, key: bytes, range_end: bytes, operand: Any) -> str:
    value = shown(operand) if isinstance(operand, bytes) else str(operand)
    name = CompareTarget(target).name.lower()
    return f"{name} of {keys_shown(key, range_end)} {_SIGNS[CompareResult(result)]} {value}"


def _grant(lease: int, ttl_s: int) -> str:
    return f"grant lease {f'{lease:x}' if lease else 'of any id'} for {ttl_s} s"


def _alarm(alarm: int, is_on: bool) -> str:
    name = Alarm(alarm).name if alarm in tuple(Alarm) else str(alarm)
    return f"{'raise' if is_on else 'clear'} the alarm {name}"


def _auth(action: int, *fields: Any) -> str:
    """Without passwords and secrets."""
    words = AuthAction(action).name.lower().replace("_", " ")
    names = [repr(field) for field in fields if isinstance(field, str)]
    if action in (AuthAction.ROLE_GRANT, AuthAction.ROLE_REVOKE):
        names.append(keys_shown(*fields[-2:]))
    if action == AuthAction.ROLE_GRANT:
        names.append(Permission(fields[1]).name.lower())
    if action == AuthAction.CHECK:
        need, *span = fields
        names = [Need(need).name.lower(), keys_shown(*span)]
    return f"auth: {' '.join([words, *names])}"


_WORDS: dict[int, Callable[..., str]] = {
    Op.PUT: _put,
    Op.DELETE_RANGE: _delete,
    Op.RANGE: _range,
    Op.FILTERED_RANGE: _range,
    Op.TXN: _txn,
    Op.COMPACT: lambda revision, physical: f"compact at revision {revision}",
    Op.LEASE_GRANT: _grant,
    Op.LEASE_REVOKE: lambda lease: f"revoke lease {lease:x}",
    Op.LEASE_KEEP_ALIVE: lambda lease: f"keep lease {lease:x} alive",
    Op.LEASE_TIME_TO_LIVE: lambda lease, keys: f"time to live of lease {lease:x}",
    Op.LEASES: lambda: "list leases",
    Op.HASH: lambda revision: f"hash at revision {revision}",
    Op.SESSION: lambda session, sequence, below: f"as command {sequence} of session {session:x}",
    Op.SESSION_OPEN: lambda session: f"open session {session:x}",
    Op.SESSION_CLOSE: lambda session: f"close session {session:x}",
    Op.ALARMS: lambda: "list alarms",
    Op.AS: lambda user, revision: f"as user {user!r} of auth revision {revision}",
    Op.AUTH: _auth,
    Op.LEASE_EXPIRE: lambda lease, renewals: (
        f"let lease {lease:x} expire (renewed {renewals} times)"
    ),
    Op.LEASE_CHECKPOINT: lambda lease, renewals, left_s: f"lease {lease:x} has {left_s} s left",
    Op.ALARM: _alarm,
    Op.ALARM_CHANGE: _alarm,
}
