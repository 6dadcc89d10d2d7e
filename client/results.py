"""What the calls of the client return: frozen values, and how the wire's arrays become them.

Reading order 2 of the client. Takes the shapes from transport.schema; never touches a socket.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from metastore.client.errors import InvalidRequest
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
    """Keys in ascending order. `more`: the limit cut the answer; `count`: keys in the whole
    range."""

    revision: int
    items: tuple[KeyValue, ...]
    more: bool
    count: int


@dataclass(frozen=True, slots=True)
class Refused:
    """One operation of a batch that the store refused; the others of the batch stand."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the cluster as its peers know it. Addresses are ZeroMQ's ("tcp://host:port")."""

    node_id: int
    client_address: str
    status_address: str


BatchResult: TypeAlias = PutResult | DeleteResult | RangeResult | Refused


def decode_result(operation: Operation, result: Sequence[Any]) -> BatchResult:
    """The value of one operation's result."""
    if result[0] != Code.OK:
        return Refused(int(result[0]), str(result[1]))
    if operation[0] == Op.PUT:
        return PutResult(result[1], None if result[2] is None else KeyValue(*result[2]))
    if operation[0] == Op.DELETE_RANGE:
        return DeleteResult(result[1], result[2], tuple(KeyValue(*kv) for kv in result[3]))
    return RangeResult(result[1], tuple(KeyValue(*kv) for kv in result[2]), result[3], result[4])


def raise_if_refused(result: BatchResult) -> None:
    """Raises InvalidRequest with the store's own words."""
    if isinstance(result, Refused):
        raise InvalidRequest(result.message, result.code)
