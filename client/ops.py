"""Operations as values: for transactions, for batches, and for the client's own methods.

Reading order 4 of the client. Pure: text becomes bytes, words become the wire's numbers. Raises
InvalidRequest for what can be seen to be wrong here.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol, TypeAlias, TypeVar

from metastore.client.comparisons import Comparison
from metastore.client.errors import InvalidRequest
from metastore.client.keys import to_bytes
from metastore.transport import schema
from metastore.transport.schema import Op, Operation, SortOrder, SortTarget


class HasLeaseId(Protocol):
    @property
    def id(self) -> int: ...


LeaseLike: TypeAlias = HasLeaseId | int | None
Choice = TypeVar("Choice", bound=IntEnum)


def lease_id_of(lease: LeaseLike) -> int:
    """0 for None."""
    if lease is None:
        return 0
    return lease if isinstance(lease, int) else lease.id


def put(
    key: str | bytes,
    value: str | bytes = b"",
    *,
    lease: LeaseLike = None,
    prev_kv: bool = False,
    ignore_value: bool = False,
    ignore_lease: bool = False,
) -> Operation:
    """ignore_value, ignore_lease: the key keeps the value or the lease it has; it must exist."""
    return schema.put(
        to_bytes(key, "key"),
        to_bytes(value, "value"),
        lease=lease_id_of(lease),
        prev_kv=prev_kv,
        ignore_value=ignore_value,
        ignore_lease=ignore_lease,
    )


def get(key: str | bytes, *, revision: int = 0) -> Operation:
    return schema.range_(to_bytes(key, "key"), revision=revision)


def range(
    key: str | bytes,
    range_end: str | bytes = b"",
    *,
    limit: int = 0,
    revision: int = 0,
    keys_only: bool = False,
    count_only: bool = False,
    no_count: bool = False,
    sort_order: str = "none",
    sort_target: str = "key",
    min_mod_revision: int = 0,
    max_mod_revision: int = 0,
    min_create_revision: int = 0,
    max_create_revision: int = 0,
) -> Operation:
    """Keys of [key, range_end). limit 0: all; revision 0: the newest; bounds 0: none. sort_order:
    none, ascend or descend; sort_target: key, version, create, mod or value."""
    plain = schema.range_(
        to_bytes(key, "key"),
        to_bytes(range_end, "range end"),
        limit=limit,
        revision=revision,
        keys_only=keys_only,
        count_only=count_only,
        no_count=no_count,
    )
    bounds = (min_mod_revision, max_mod_revision, min_create_revision, max_create_revision)
    if sort_order == "none" and sort_target == "key" and not any(bounds):
        return plain
    return schema.filtered_range(
        plain,
        sort_order=_choose(SortOrder, sort_order, "sort order"),
        sort_target=_choose(SortTarget, sort_target, "sort target"),
        min_mod_revision=min_mod_revision,
        max_mod_revision=max_mod_revision,
        min_create_revision=min_create_revision,
        max_create_revision=max_create_revision,
    )


def delete(key: str | bytes, range_end: str | bytes = b"", *, prev_kv: bool = False) -> Operation:
    return schema.delete_range(
        to_bytes(key, "key"), to_bytes(range_end, "range end"), prev_kv=prev_kv
    )


def txn(
    compares: Comparison | Sequence[Comparison],
    success: Sequence[Operation] = (),
    failure: Sequence[Operation] = (),
) -> Operation:
    """All of `success` at one revision if every comparison holds, else all of `failure`."""
    comparisons = [compares] if isinstance(compares, Comparison) else list(compares)
    if not all(isinstance(comparison, Comparison) for comparison in comparisons):
        raise InvalidRequest("a transaction compares with value(), version() and the like")
    return schema.txn([comparison.wire for comparison in comparisons], success, failure)


def compact(revision: int, *, physical: bool = False) -> Operation:
    return (int(Op.COMPACT), revision, physical)


def lease_grant(ttl_s: int, lease_id: int = 0) -> Operation:
    return (int(Op.LEASE_GRANT), lease_id, ttl_s)


def lease_revoke(lease: LeaseLike) -> Operation:
    return (int(Op.LEASE_REVOKE), lease_id_of(lease))


def lease_keep_alive(lease: LeaseLike) -> Operation:
    return (int(Op.LEASE_KEEP_ALIVE), lease_id_of(lease))


def lease_time_to_live(lease: LeaseLike, *, keys: bool = False) -> Operation:
    return (int(Op.LEASE_TIME_TO_LIVE), lease_id_of(lease), keys)


def leases() -> Operation:
    return (int(Op.LEASES),)


def hash(revision: int = 0) -> Operation:
    return (int(Op.HASH), revision)


def alarms() -> Operation:
    return (int(Op.ALARMS),)


def _choose(choices: type[Choice], name: str, what: str) -> Choice:
    for choice in choices:
        if choice.name.lower() == name:
            return choice
    names = ", ".join(choice.name.lower() for choice in choices)
    raise InvalidRequest(f"the {what} {name!r} is none of {names}")
