"""What the operations on users, roles and permissions do and answer, as etcd's do.

Last of engines/auth. Whether the caller may is decided before (guard.py). Texts, codes and what
makes a new auth revision were compared with etcd 3.5: granting a held role and enabling twice
change nothing and succeed; a repeated grant of the same range replaces the permission; the role
root need not exist to be granted.
"""

from bisect import insort
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from metastore.engines.auth.tables import AuthTables, User
from metastore.transport import auth_ops
from metastore.transport.auth_ops import ROOT, AuthAction
from metastore.transport.schema import Code, Operation, Result

NO_ROOM: Final = "metastore: users, roles or permissions take too much room"


class HasRevision(Protocol):
    """What a result needs of the keys; mvcc.KeySpace has it."""

    revision: int


def _invalid(message: str) -> Result:
    return (int(Code.INVALID_ARGUMENT), message)


def _failed(message: str) -> Result:
    return (int(Code.FAILED_PRECONDITION), message)


_MISMANAGED = _invalid(auth_ops.INVALID_MANAGEMENT)
_NO_USER = _failed(auth_ops.USER_NOT_FOUND)
_NO_ROLE = _failed(auth_ops.ROLE_NOT_FOUND)
_FULL: Result = (int(Code.RESOURCE_EXHAUSTED), NO_ROOM)


class AuthOperations:
    """`execute` takes a checked AUTH operation."""

    def __init__(self, tables: AuthTables, keys: HasRevision) -> None:
        self._tables = tables
        self._keys = keys

    def execute(self, operation: Operation) -> Result:
        return _ACTIONS[operation[1]](self, *operation[2:])

    # The whole

    def _enable(self, token_secret: bytes) -> Result:
        root = self._tables.users.get(ROOT)  # while auth is on, it is there
        if root is None:
            return _failed(auth_ops.ROOT_NOT_FOUND)
        if ROOT not in root.roles:
            return _failed(auth_ops.ROOT_ROLE_NOT_FOUND)
        self._tables.enable(token_secret)
        return self._done()  # etcd makes no new revision of it

    def _disable(self) -> Result:
        if not self._tables.is_enabled:
            return self._done()
        self._tables.disable()
        return self._done()

    def _status(self) -> Result:
        return self._done(self._tables.is_enabled, self._tables.revision)

    def _credentials(self, name: str) -> Result:
        tables = self._tables
        user = tables.users.get(name, User(b"", 0))
        known = (user.password_hash, user.password_revision, tables.token_secret)
        return self._done(tables.is_enabled, tables.revision, *known)

    def _check(self, *_: Any) -> Result:
        """Whoever may not does not get so far."""
        return self._done()

    # Users

    def _user_add(self, name: str, password_hash: bytes) -> Result:
        tables = self._tables
        if not name:
            return _invalid(auth_ops.USER_EMPTY)
        if name in tables.users:
            return _failed(auth_ops.USER_EXISTS)
        return self._set_user(name, User(password_hash, tables.revision + 1))

    def _user_delete(self, name: str) -> Result:
        tables = self._tables
        if tables.is_enabled and name == ROOT:
            return _MISMANAGED
        if name not in tables.users:
            return _NO_USER
        tables.drop_user(name)
        return self._changed()

    def _user_change_password(self, name: str, password_hash: bytes) -> Result:
        tables = self._tables
        user = tables.users.get(name)
        if user is None:
            return _NO_USER
        return self._set_user(name, User(password_hash, tables.revision + 1, user.roles))

    def _user_grant(self, name: str, role: str) -> Result:
        user = self._tables.users.get(name)
        if user is None:
            return _NO_USER
        if role != ROOT and role not in self._tables.roles:
            return _NO_ROLE
        if role in user.roles:
            return self._done()
        roles = list(user.roles)
        insort(roles, role)
        return self._set_user(name, user._replace(roles=tuple(roles)))

    def _user_revoke(self, name: str, role: str) -> Result:
        if self._tables.is_enabled and name == role == ROOT:
            return _MISMANAGED
        user = self._tables.users.get(name)
        if user is None:
            return _NO_USER
        if role not in user.roles:
            return _failed(auth_ops.ROLE_NOT_GRANTED)
        return self._set_user(name, _without_role(user, role))

    def _user_get(self, name: str) -> Result:
        user = self._tables.users.get(name)
        return _NO_USER if user is None else self._done(user.roles)

    def _user_list(self) -> Result:
        return self._done(tuple(sorted(self._tables.users)))

    def _set_user(self, name: str, user: User) -> Result:
        return self._changed() if self._tables.put_user(name, user) else _FULL

    # Roles

    def _role_add(self, name: str) -> Result:
        if not name:
            return _invalid(auth_ops.ROLE_EMPTY)
        if name in self._tables.roles:
            return _failed(auth_ops.ROLE_EXISTS)
        return self._changed() if self._tables.put_role(name, ()) else _FULL

    def _role_delete(self, name: str) -> Result:
        tables = self._tables
        if tables.is_enabled and name == ROOT:
            return _MISMANAGED
        if name not in tables.roles:
            return _NO_ROLE
        tables.drop_role(name)
        for holder, user in list(tables.users.items()):
            if name in user.roles:
                tables.put_user(holder, _without_role(user, name))  # shorter: there is room
        return self._changed()

    def _role_grant(self, name: str, permission: int, key: bytes, range_end: bytes) -> Result:
        role = self._tables.roles.get(name)
        if role is None:
            return _NO_ROLE
        others = [grant for grant in role if grant[1:] != (key, range_end)]
        insort(others, (permission, key, range_end), key=lambda grant: grant[1:])
        return self._changed() if self._tables.put_role(name, tuple(others)) else _FULL

    def _role_revoke(self, name: str, key: bytes, range_end: bytes) -> Result:
        role = self._tables.roles.get(name)
        if role is None:
            return _NO_ROLE
        others = tuple(grant for grant in role if grant[1:] != (key, range_end))
        if len(others) == len(role):
            return _failed(auth_ops.PERMISSION_NOT_GRANTED)
        self._tables.put_role(name, others)  # shorter: there is room
        return self._changed()

    def _role_get(self, name: str) -> Result:
        role = self._tables.roles.get(name)
        return _NO_ROLE if role is None else self._done(role)

    def _role_list(self) -> Result:
        return self._done(tuple(sorted(self._tables.roles)))

    # Answers

    def _done(self, *more: Any) -> Result:
        return (int(Code.OK), self._keys.revision, *more)

    def _changed(self) -> Result:
        self._tables.advance()
        return self._done()


# Of functions, not of bound methods: a state that is replaced must be freed without the collector
# of cycles.
_ACTIONS: Mapping[int, Callable[..., Result]] = {
    AuthAction.ENABLE: AuthOperations._enable,
    AuthAction.DISABLE: AuthOperations._disable,
    AuthAction.STATUS: AuthOperations._status,
    AuthAction.USER_ADD: AuthOperations._user_add,
    AuthAction.USER_DELETE: AuthOperations._user_delete,
    AuthAction.USER_CHANGE_PASSWORD: AuthOperations._user_change_password,
    AuthAction.USER_GRANT: AuthOperations._user_grant,
    AuthAction.USER_REVOKE: AuthOperations._user_revoke,
    AuthAction.USER_GET: AuthOperations._user_get,
    AuthAction.USER_LIST: AuthOperations._user_list,
    AuthAction.ROLE_ADD: AuthOperations._role_add,
    AuthAction.ROLE_DELETE: AuthOperations._role_delete,
    AuthAction.ROLE_GRANT: AuthOperations._role_grant,
    AuthAction.ROLE_REVOKE: AuthOperations._role_revoke,
    AuthAction.ROLE_GET: AuthOperations._role_get,
    AuthAction.ROLE_LIST: AuthOperations._role_list,
    AuthAction.CREDENTIALS: AuthOperations._credentials,
    AuthAction.CHECK: AuthOperations._check,
}


def _without_role(user: User, role: str) -> User:
    return user._replace(roles=tuple(held for held in user.roles if held != role))
