"""What a client may do: its role, the keys that it may touch, and whether a frame keeps to both.

The bottom of node/access. Pure, and complete: an operation or a frame that is not named here takes
the role admin. What a request says is decided by the decoders that the node carries it out with,
never by its first bytes, so that no spelling of a request is judged as another one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from metastore.transport.auth_ops import AuthAction
from metastore.transport.envelope import ClientFrame, Hello, Request
from metastore.transport.member_ops import MEMBERS, decode_member_request
from metastore.transport.schema import (
    MalformedRequest,
    Op,
    Operation,
    decode_request,
    is_read_only,
)
from metastore.transport.watch_frames import Cancel, Credit, ProgressRequest, Watch

NO_END = b"\x00"  # as range_end: all keys from `key` on
PREFIXES_SHOWN_MAX = 4  # in a sentence

KeysOfLease: TypeAlias = Callable[[int], Sequence[bytes]]


class AccessRole(StrEnum):
    """Each may do what the ones before it may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Reason(StrEnum):
    """Why something was refused, in a word, to count it by."""

    ROLE = "role"
    PREFIX = "prefix"
    # Of the gate, whatever the frame:
    KEY = "key"  # nobody's, or not that of the connection
    MALFORMED = "malformed"
    CONNECTIONS = "connections"
    IN_FLIGHT = "in_flight"


class Denial(NamedTuple):
    """The text is for the client and the log."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Grants:
    """What the client `name` may do. No prefixes: with every key. The role admin has none."""

    name: str
    role: AccessRole
    prefixes: tuple[bytes, ...] = ()


# By operation, the least role that may do it.
_ROLES: dict[int, AccessRole] = {
    **dict.fromkeys(
        map(
            int,
            (
                *(Op.RANGE, Op.FILTERED_RANGE, Op.LEASE_TIME_TO_LIVE, Op.LEASES, Op.HASH),
                *(Op.ALARMS, Op.SESSION, Op.SESSION_OPEN, Op.SESSION_CLOSE, MEMBERS, Op.AS),
            ),
        ),
        AccessRole.READ,
    ),
    **dict.fromkeys(
        map(
            int,
            (
                *(Op.PUT, Op.DELETE_RANGE, Op.TXN),
                *(Op.LEASE_GRANT, Op.LEASE_REVOKE, Op.LEASE_KEEP_ALIVE),
            ),
        ),
        AccessRole.WRITE,
    ),
}
# Of the actions on users and roles, those that do not take the role admin. They tell whether there
# are users at all, and what one may do whose name the client must know.
_ACTIONS_TO_READ = frozenset(map(int, (AuthAction.STATUS, AuthAction.CHECK)))
# Of those: what touches no key. A new lease has none, and one that lives on changes none. ALARMS
# tells that there is an alarm, MEMBERS what a greeting tells anyway. AS is a header; what follows
# it is judged as if it were not there: a name can only forbid more, in the state machine.
_KEYLESS = frozenset(
    map(
        int,
        (
            *(Op.LEASE_GRANT, Op.LEASE_KEEP_ALIVE, Op.SESSION, Op.SESSION_OPEN, Op.SESSION_CLOSE),
            *(Op.ALARMS, MEMBERS, Op.AS, Op.AUTH),
        ),
    )
)
_RANGES = frozenset(map(int, (Op.DELETE_RANGE, Op.RANGE, Op.FILTERED_RANGE)))
_PUT, _TXN, _LEASES, _HASH = int(Op.PUT), int(Op.TXN), int(Op.LEASES), int(Op.HASH)
_REVOKE, _TIME_TO_LIVE = int(Op.LEASE_REVOKE), int(Op.LEASE_TIME_TO_LIVE)
_AUTH = int(Op.AUTH)


def why_not(grants: Grants, frame: ClientFrame, keys_of_lease: KeysOfLease) -> Denial | None:
    """None: it may send this. Raises MalformedRequest for a request that no node could carry out;
    who may do everything gets its answer from there."""
    if grants.role is AccessRole.ADMIN:
        return None
    if isinstance(frame, Request):
        return _why_not_request(grants, _decoded(frame.request), keys_of_lease)
    if isinstance(frame, Watch):
        return why_not_range(grants, frame.key, frame.range_end)
    if isinstance(frame, Hello | Credit | Cancel | ProgressRequest):
        return None  # they greet, or name what a WATCH of the same connection began
    return _admins_only(grants)


def why_not_range(grants: Grants, key: bytes, range_end: bytes) -> Denial | None:
    """Of a range in the words of a RANGE (schema.py)."""
    if not grants.prefixes or _is_inside(grants.prefixes, key, range_end):
        return None
    return _outside(grants, "touch keys")


def _decoded(data: bytes) -> Sequence[Operation]:
    """As the store will read it, else as the keeper of the members will."""
    try:
        return decode_request(data)
    except MalformedRequest as error:
        try:
            return ((decode_member_request(data).operation,),)
        except MalformedRequest:
            raise error from None


def _why_not_request(
    grants: Grants, operations: Sequence[Operation], keys_of_lease: KeysOfLease
) -> Denial | None:
    for operation in operations:
        denial = _why_not_role(grants, operation)
        if denial is None and grants.prefixes:
            denial = _why_not_keys(grants, operation, keys_of_lease)
        if denial is not None:
            return denial
    return None


def _why_not_role(grants: Grants, operation: Operation) -> Denial | None:
    needed = _ROLES.get(operation[0], AccessRole.ADMIN)
    if operation[0] == _AUTH and operation[1] in _ACTIONS_TO_READ:
        needed = AccessRole.READ
    if needed is AccessRole.ADMIN:
        return _admins_only(grants)
    if needed is AccessRole.READ or grants.role is AccessRole.WRITE:
        return None
    if operation[0] == _TXN and is_read_only((operation,)):
        return None
    return Denial(Reason.ROLE, f"client {grants.name!r} may read, not write")


def _why_not_keys(
    grants: Grants, operation: Operation, keys_of_lease: KeysOfLease
) -> Denial | None:
    code = operation[0]
    if code in _KEYLESS:
        return None
    if code == _PUT:
        return why_not_range(grants, operation[1], b"")
    if code in _RANGES:
        return why_not_range(grants, operation[1], operation[2])
    if code == _TXN:
        return _why_not_txn(grants, operation, keys_of_lease)
    if code == _TIME_TO_LIVE:
        if not operation[2] or _are_inside(grants.prefixes, keys_of_lease(operation[1])):
            return None
        return _outside(grants, "see a lease's keys")
    if code == _REVOKE:
        if _are_inside(grants.prefixes, keys_of_lease(operation[1])):
            return None
        return _outside(grants, "end a lease that has keys")
    if code == _LEASES:
        return _outside(grants, "list the leases, which may have keys")
    # A hash of the whole store tells when anything in it changes, and whether a guess is right.
    what = "ask for the hash of keys" if code == _HASH else "touch keys"
    return _outside(grants, what)


def _why_not_txn(grants: Grants, txn: Operation, keys_of_lease: KeysOfLease) -> Denial | None:
    """Both branches: which one is carried out is not known before."""
    for compare in txn[1]:
        denial = why_not_range(grants, compare[2], compare[3])
        if denial is not None:
            return denial
    for operation in (*txn[2], *txn[3]):
        denial = _why_not_keys(grants, operation, keys_of_lease)
        if denial is not None:
            return denial
    return None


def _are_inside(prefixes: Sequence[bytes], keys: Iterable[bytes]) -> bool:
    return all(_is_inside(prefixes, key, b"") for key in keys)


def _is_inside(prefixes: Sequence[bytes], key: bytes, range_end: bytes) -> bool:
    """Whether one of the prefixes holds the whole range."""
    for prefix in prefixes:
        if not key.startswith(prefix):
            continue
        end = _end_of_prefix(prefix)
        if not range_end or not end or (range_end != NO_END and range_end <= end):
            return True
    return False


@lru_cache(maxsize=1024)
def _end_of_prefix(prefix: bytes) -> bytes:
    """The first key after all that begin so; b"": there is none."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes((head[-1] + 1,)) if head else b""


def _admins_only(grants: Grants) -> Denial:
    may = "read" if grants.role is AccessRole.READ else "read and write"
    return Denial(Reason.ROLE, f"client {grants.name!r} may {may}; this takes the role admin")


def _outside(grants: Grants, what: str) -> Denial:
    shown = [repr(prefix.decode(errors="replace")) for prefix in grants.prefixes]
    if len(shown) > PREFIXES_SHOWN_MAX:
        shown[PREFIXES_SHOWN_MAX:] = ["..."]
    text = f"client {grants.name!r} may not {what} outside of {', '.join(shown)}"
    return Denial(Reason.PREFIX, text)
