"""What the calls of the client return: frozen values, and how the wire's arrays become them.

Reading order 2 of the client. Takes the shapes from transport.schema; never touches a socket.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from metastore.client.errors import Compacted, InvalidRequest
from metastore.client.member_results import (
    LeaderMoved,
    MemberList,
    decode_leader_moved,
    decode_members,
)
from metastore.client.member_results import Member as Member
from metastore.transport import member_ops, schema
from metastore.transport.schema import Code, Op, Operation


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as the store holds it. Revisions and version are etcd's; `lease` 0 means none."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class PutResult:
    """`previous` is None unless it was asked for and the key existed."""

    revision: int
    previous: KeyValue | None


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """`deleted` is a count of keys; `previous` is empty unless it was asked for."""

    revision: int
    deleted: int
    previous: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True)
class RangeResult:
    """Keys in the order asked for. `more`: the limit cut the answer; `count`: keys in the whole
    range, or of this answer if they were not to be counted."""

    revision: int
    items: tuple[KeyValue, ...]
    more: bool
    count: int


@dataclass(frozen=True, slots=True)
class TxnResult:
    """`succeeded`: the comparisons held; `results` are those of the branch that was taken, in
    order."""

    revision: int
    succeeded: bool
    results: "tuple[BatchResult, ...]"


@dataclass(frozen=True, slots=True)
class Done:
    """A compaction, the end of a lease, a session opened or closed: there is nothing else to
    say."""

    revision: int


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """`ttl_s` is what the cluster grants, in seconds; it may be more than was asked for."""

    revision: int
    lease: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """`ttl_s` in seconds from now; 0: there is no such lease."""

    revision: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class TimeToLive:
    """Seconds left and seconds granted; `ttl_s` -1: there is no such lease. `keys` is empty unless
    asked for."""

    revision: int
    ttl_s: int
    granted_ttl_s: int
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LeaseList:
    revision: int
    leases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HashResult:
    """Of what is visible at `hash_revision`: equal on every node. `compact_revision` -1: nothing
    was compacted yet."""

    revision: int
    hash: int
    compact_revision: int
    hash_revision: int


@dataclass(frozen=True, slots=True)
class AlarmList:
    """Numbers of transport.schema.Alarm."""

    revision: int
    alarms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """One operation of a batch that the store refused; the others of the batch stand."""

    code: int
    message: str


BatchResult: TypeAlias = (
    PutResult
    | DeleteResult
    | RangeResult
    | TxnResult
    | Done
    | LeaseGrant
    | KeepAlive
    | TimeToLive
    | LeaseList
    | HashResult
    | AlarmList
    | MemberList
    | LeaderMoved
    | Refused
)


def _put(operation: Operation, result: Sequence[Any]) -> BatchResult:
    return PutResult(result[1], None if result[2] is None else KeyValue(*result[2]))


def _delete(operation: Operation, result: Sequence[Any]) -> BatchResult:
    return DeleteResult(result[1], result[2], tuple(KeyValue(*kv) for kv in result[3]))


def _range(operation: Operation, result: Sequence[Any]) -> BatchResult:
    return RangeResult(result[1], tuple(KeyValue(*kv) for kv in result[2]), result[3], result[4])


def _txn(operation: Operation, result: Sequence[Any]) -> BatchResult:
    pairs = zip(operation[2] if result[2] else operation[3], result[3], strict=True)
    return TxnResult(result[1], result[2], tuple(decode_result(*pair) for pair in pairs))


def _done(operation: Operation, result: Sequence[Any]) -> BatchResult:
    return Done(result[1])


_DECODERS: dict[int, Callable[[Operation, Sequence[Any]], BatchResult]] = {
    Op.PUT: _put,
    Op.DELETE_RANGE: _delete,
    Op.RANGE: _range,
    Op.FILTERED_RANGE: _range,
    Op.TXN: _txn,
    Op.COMPACT: _done,
    Op.LEASE_GRANT: lambda _, result: LeaseGrant(*result[1:]),
    Op.LEASE_REVOKE: _done,
    Op.LEASE_KEEP_ALIVE: lambda _, result: KeepAlive(*result[1:]),
    Op.LEASE_TIME_TO_LIVE: lambda _, result: TimeToLive(*result[1:]),
    Op.LEASES: lambda _, result: LeaseList(*result[1:]),
    Op.HASH: lambda _, result: HashResult(*result[1:]),
    Op.ALARMS: lambda _, result: AlarmList(*result[1:]),
    Op.SESSION_OPEN: _done,
    Op.SESSION_CLOSE: _done,
    member_ops.MEMBERS: lambda _, result: decode_members(result),
    member_ops.MEMBER_CHANGE: lambda _, result: decode_members(result),
    member_ops.MOVE_LEADER: lambda _, result: decode_leader_moved(result),
}


def decode_result(operation: Operation, result: Sequence[Any]) -> BatchResult:
    """The value of one operation's result."""
    if result[0] != Code.OK:
        return Refused(int(result[0]), str(result[1]))
    return _DECODERS[operation[0]](operation, result)


def raise_if_refused(result: BatchResult) -> None:
    """Raises InvalidRequest, or Compacted, with the store's own words."""
    if isinstance(result, Refused):
        if result.message == schema.COMPACTED:
            raise Compacted(result.message)
        raise InvalidRequest(result.message, result.code)
