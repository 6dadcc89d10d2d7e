"""The conditions of a transaction, written as comparisons: `value("k") == b"x"`.

Reading order 3 of the client. Pure. A comparison is for `Client.txn` or `ops.txn`; it is decided by
the cluster, not here, and asking Python whether it is true is refused.
"""

from dataclasses import dataclass
from typing import Any

from metastore.client.errors import InvalidRequest
from metastore.client.keys import to_bytes
from metastore.transport import schema
from metastore.transport.schema import CompareResult, CompareTarget


@dataclass(frozen=True, slots=True)
class Comparison:
    """Something about a key, or about every key of a range, compared with a fixed operand."""

    wire: tuple[Any, ...]  # schema.compare

    def __bool__(self) -> bool:
        raise TypeError("a comparison is decided by the cluster: give it to txn()")


class Subject:
    """What is compared; use ==, !=, > or <."""

    __slots__ = ("_key", "_range_end", "_target")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, target: CompareTarget, key: str | bytes, range_end: str | bytes) -> None:
        self._target = target
        self._key = to_bytes(key, "key")
        self._range_end = to_bytes(range_end, "range end")

    def __eq__(self, operand: object) -> Comparison:  # type: ignore[override]
        return self._compare(CompareResult.EQUAL, operand)

    def __ne__(self, operand: object) -> Comparison:  # type: ignore[override]
        return self._compare(CompareResult.NOT_EQUAL, operand)

    def __gt__(self, operand: object) -> Comparison:
        return self._compare(CompareResult.GREATER, operand)

    def __lt__(self, operand: object) -> Comparison:
        return self._compare(CompareResult.LESS, operand)

    def _compare(self, result: CompareResult, operand: object) -> Comparison:
        wire_operand: bytes | int
        if self._target is CompareTarget.VALUE:
            if not isinstance(operand, str | bytes):
                raise InvalidRequest("a value is compared with bytes or str")
            wire_operand = to_bytes(operand, "operand")
        else:
            number = getattr(operand, "id", operand)  # a Lease stands for its id
            if type(number) is not int:
                raise InvalidRequest(f"a {self._target.name.lower()} is compared with an int")
            wire_operand = number
        wire = schema.compare(self._target, result, self._key, wire_operand, self._range_end)
        return Comparison(tuple(wire))


def value(key: str | bytes, range_end: str | bytes = b"") -> Subject:
    """The value; false for a key that is not there."""
    return Subject(CompareTarget.VALUE, key, range_end)


def version(key: str | bytes, range_end: str | bytes = b"") -> Subject:
    """How often the key was put since its creation; 0 for a key that is not there."""
    return Subject(CompareTarget.VERSION, key, range_end)


def create_revision(key: str | bytes, range_end: str | bytes = b"") -> Subject:
    """The revision of its creation; 0 for a key that is not there."""
    return Subject(CompareTarget.CREATE, key, range_end)


def mod_revision(key: str | bytes, range_end: str | bytes = b"") -> Subject:
    """The revision of its last change; 0 for a key that is not there."""
    return Subject(CompareTarget.MOD, key, range_end)


def lease_of(key: str | bytes, range_end: str | bytes = b"") -> Subject:
    """The lease that it hangs on; 0 for none. Compare with an id or a Lease."""
    return Subject(CompareTarget.LEASE, key, range_end)
