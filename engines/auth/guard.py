"""Whether a request may be carried out in somebody's name, operation by operation, as etcd decides.

Beside operations.py. Complete: what is not named here takes the role root. Stricter than etcd 3.5
where that forgets to look: inside of nested transactions, at the leases and the previous values of
puts in a transaction, and at names for COMPACT, LEASES, the keys of a lease and changes of alarms.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from metastore.engines.auth.ranges import KeySet
from metastore.engines.auth.tables import AuthTables, User
from metastore.engines.refusals import NO_KEY, put_refusal
from metastore.engines.txn_shape import txn_refusal
from metastore.transport.auth_ops import (
    AUTH_OLD_REVISION,
    PERMISSION_DENIED,
    ROOT,
    USER_EMPTY,
    AuthAction,
    Need,
    Permission,
)
from metastore.transport.schema import Code, Flag, Op, Operation, Result

OLD_REVISION: Final[Result] = (int(Code.INVALID_ARGUMENT), AUTH_OLD_REVISION)
DENIED: Final[Result] = (int(Code.PERMISSION_DENIED), PERMISSION_DENIED)
NO_NAME: Final[Result] = (int(Code.INVALID_ARGUMENT), USER_EMPTY)

CALLERS_MAX = 10_000  # looked up since users or roles last changed; over it, all are looked up anew

_READS = (Permission.READ, Permission.READWRITE)
_WRITES = (Permission.WRITE, Permission.READWRITE)
_PREV_KV = int(Flag.PREV_KV)
_PUT, _TXN = int(Op.PUT), int(Op.TXN)
_OF_RANGES = frozenset(map(int, (Op.RANGE, Op.FILTERED_RANGE, Op.DELETE_RANGE)))

KeysOfLease = Callable[[int], Iterable[bytes]]


class Caller:
    """What one user may do. `refusal`: what is answered to everything else."""

    __slots__ = ("is_known", "is_root", "name", "reads", "refusal", "roles", "writes")

    def __init__(self, name: str, user: User | None, tables: AuthTables) -> None:
        self.name = name
        self.refusal = DENIED if name else NO_NAME
        self.is_known = user is not None
        self.roles = () if user is None else user.roles
        self.is_root = ROOT in self.roles
        grants = [grant for role in self.roles for grant in tables.roles.get(role, ())]
        self.reads = KeySet(grant[1:] for grant in grants if grant[0] in _READS)
        self.writes = KeySet(grant[1:] for grant in grants if grant[0] in _WRITES)

    def may_read(self, key: bytes, range_end: bytes = b"") -> bool:
        return self.is_root or self.reads.covers(key, range_end)

    def may_write(self, key: bytes, range_end: bytes = b"") -> bool:
        return self.is_root or self.writes.covers(key, range_end)


class Guard:
    """Asked for each request under AS, before any of it is carried out."""

    def __init__(self, tables: AuthTables, keys_of_lease: KeysOfLease) -> None:
        self._tables = tables
        self._keys_of_lease = keys_of_lease
        self._callers: dict[str, Caller] = {}  # of this revision:
        self._revision = tables.revision

    def refusal_or_none(self, header: Operation, operations: Sequence[Operation]) -> Result | None:
        """`operations`: those after the header, all of which have to be allowed."""
        tables = self._tables
        _, name, revision = header
        # Also while auth is off: who has not heard that yet would go on taking tokens.
        if revision < tables.revision:
            return OLD_REVISION
        if not tables.is_enabled:
            return None
        caller = self._caller(name)
        for operation in operations:
            if not _may(caller, operation, self._keys_of_lease):
                return _shape_refusal(operation) or caller.refusal
        return None

    def _caller(self, name: str) -> Caller:
        if self._revision != self._tables.revision or len(self._callers) >= CALLERS_MAX:
            self._callers.clear()
            self._revision = self._tables.revision
        caller = self._callers.get(name)
        if caller is None:
            caller = Caller(name, self._tables.users.get(name), self._tables)
            self._callers[name] = caller
        return caller


def _may(caller: Caller, operation: Operation, keys_of_lease: KeysOfLease) -> bool:
    judge = _JUDGES.get(operation[0], _may_as_root)
    return judge(caller, operation, keys_of_lease)


def _shape_refusal(operation: Operation) -> Result | None:
    """What etcd finds before it asks who calls: an operation that is not well made."""
    if operation[0] == _PUT:
        return put_refusal(operation)
    if operation[0] == _TXN:
        return txn_refusal(operation)
    return NO_KEY if operation[0] in _OF_RANGES and not operation[1] else None


# Whether a caller may do one operation


def _may_as_root(caller: Caller, operation: Operation, _: KeysOfLease) -> bool:
    return caller.is_root


def _may_as_anybody(caller: Caller, operation: Operation, _: KeysOfLease) -> bool:
    return True


def _may_as_user(caller: Caller, operation: Operation, _: KeysOfLease) -> bool:
    return caller.is_known


def _may_put(caller: Caller, operation: Operation, keys_of_lease: KeysOfLease) -> bool:
    _, key, _, lease, flags = operation
    if not caller.may_write(key):
        return False
    if flags & _PREV_KV and not caller.may_read(key):
        return False
    # Else the key would hang on a lease that this user may not end.
    return not lease or _may_end(caller, keys_of_lease(lease))


def _may_range(caller: Caller, operation: Operation, _: KeysOfLease) -> bool:
    return caller.may_read(operation[1], operation[2])


def _may_delete(caller: Caller, operation: Operation, _: KeysOfLease) -> bool:
    _, key, range_end, flags = operation
    if flags & _PREV_KV and not caller.may_read(key, range_end):
        return False
    return caller.may_write(key, range_end)


def _may_txn(caller: Caller, operation: Operation, keys_of_lease: KeysOfLease) -> bool:
    """Both branches: which one is taken must not tell anything."""
    _, compares, *branches = operation
    return all(caller.may_read(compare[2], compare[3]) for compare in compares) and all(
        _may(caller, nested, keys_of_lease) for branch in branches for nested in branch
    )


def _may_revoke(caller: Caller, operation: Operation, keys_of_lease: KeysOfLease) -> bool:
    return _may_end(caller, keys_of_lease(operation[1]))


def _may_end(caller: Caller, keys: Iterable[bytes]) -> bool:
    # Root by one look: a lease may have very many keys.
    return caller.is_root or all(map(caller.may_write, keys))


def _may_time_to_live(caller: Caller, operation: Operation, keys_of_lease: KeysOfLease) -> bool:
    _, lease, wants_keys = operation
    if not wants_keys:
        return True
    return caller.is_known and all(map(caller.may_read, keys_of_lease(lease)))


def _may_auth(caller: Caller, operation: Operation, _: KeysOfLease) -> bool:
    if caller.is_root:
        return True
    action = operation[1]
    if action == AuthAction.USER_GET:
        return bool(operation[2] == caller.name)
    if action == AuthAction.ROLE_GET:
        return operation[2] in caller.roles
    if action == AuthAction.CHECK:
        _, _, need, key, range_end = operation
        if need == Need.ADMIN:
            return False
        may = caller.may_read if need == Need.READ else caller.may_write
        return may(key, range_end)
    return False


_JUDGES: Mapping[int, Callable[[Caller, Operation, KeysOfLease], bool]] = {
    int(Op.PUT): _may_put,
    int(Op.DELETE_RANGE): _may_delete,
    int(Op.RANGE): _may_range,
    int(Op.FILTERED_RANGE): _may_range,
    int(Op.TXN): _may_txn,
    int(Op.COMPACT): _may_as_user,
    int(Op.LEASE_GRANT): _may_as_anybody,
    int(Op.LEASE_REVOKE): _may_revoke,
    int(Op.LEASE_KEEP_ALIVE): _may_as_anybody,
    int(Op.LEASE_TIME_TO_LIVE): _may_time_to_live,
    int(Op.LEASES): _may_as_user,
    int(Op.ALARMS): _may_as_anybody,
    int(Op.ALARM_CHANGE): _may_as_root,  # NOSPACE stops all writes
    int(Op.SESSION_OPEN): _may_as_anybody,
    int(Op.SESSION_CLOSE): _may_as_anybody,
    int(Op.HASH): _may_as_root,
    int(Op.AUTH): _may_auth,
}
