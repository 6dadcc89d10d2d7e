"""Users, roles and permissions as operations: etcd's auth, shared by engine, node, client and api.

Reading order 9. An operation of schema.py's table; its second element says what is wanted:

    [AUTH, ENABLE, token_secret]               kept if none was kept before; to sign tokens with,
                                               until a DISABLE
    [AUTH, DISABLE]  [AUTH, STATUS]  [AUTH, USER_LIST]  [AUTH, ROLE_LIST]
    [AUTH, USER_ADD, user, password_hash]      b"": nobody can prove to be this user by a password
    [AUTH, USER_CHANGE_PASSWORD, user, password_hash]
    [AUTH, USER_DELETE, user]  [AUTH, USER_GET, user]
    [AUTH, USER_GRANT, user, role]  [AUTH, USER_REVOKE, user, role]
    [AUTH, ROLE_ADD, role]  [AUTH, ROLE_DELETE, role]  [AUTH, ROLE_GET, role]
    [AUTH, ROLE_GRANT, role, permission, key, range_end]
    [AUTH, ROLE_REVOKE, role, key, range_end]
    [AUTH, CREDENTIALS, user]                  for who checks passwords and tokens, never under AS
    [AUTH, CHECK, need, key, range_end]        may the user of the AS header do this? need: Need

and the header that makes a request somebody's, after a SESSION header if there is one:

    [AS, user, auth_revision]                  "": a caller that said no name

A request under AS is carried out only at this auth revision, also while auth is off: whoever looked
the user up must look again when users or roles have changed. While auth is on, it is carried out
only if the user may do all of it. A request without it comes from who was let in by other means
(access file, loopback). Results:

    STATUS       [OK, revision, is_enabled, auth_revision]
    USER_GET     [OK, revision, [role, ...]]              USER_LIST, ROLE_LIST: names, sorted
    ROLE_GET     [OK, revision, [[permission, key, range_end], ...]]      sorted by key
    CREDENTIALS  [OK, revision, is_enabled, auth_revision, password_hash, password_revision,
                  token_secret]      password_revision 0: no such user; b"" as hash: no password
    others       [OK, revision]
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

AS, AUTH = 17, 18


class AuthAction(IntEnum):
    ENABLE = 1
    DISABLE = 2
    STATUS = 3
    USER_ADD = 4
    USER_DELETE = 5
    USER_CHANGE_PASSWORD = 6
    USER_GRANT = 7
    USER_REVOKE = 8
    USER_GET = 9
    USER_LIST = 10
    ROLE_ADD = 11
    ROLE_DELETE = 12
    ROLE_GRANT = 13
    ROLE_REVOKE = 14
    ROLE_GET = 15
    ROLE_LIST = 16
    CREDENTIALS = 17
    CHECK = 18


class Need(IntEnum):
    """Of a CHECK."""

    READ = 1  # the range
    WRITE = 2  # the range
    ADMIN = 3  # the role root; key and range_end mean nothing


class Permission(IntEnum):
    """etcd's numbers."""

    READ = 0
    WRITE = 1
    READWRITE = 2


ROOT = "root"  # the user that must be there, and the role that may do everything
SECRET_BYTES = 32

USER_EMPTY = "etcdserver: user name is empty"
ROLE_EMPTY = "etcdserver: role name is empty"
USER_EXISTS = "etcdserver: user name already exists"
USER_NOT_FOUND = "etcdserver: user name not found"
ROLE_EXISTS = "etcdserver: role name already exists"
ROLE_NOT_FOUND = "etcdserver: role name not found"
ROLE_NOT_GRANTED = "etcdserver: role is not granted to the user"
PERMISSION_NOT_GRANTED = "etcdserver: permission is not granted to the role"
PERMISSION_NOT_GIVEN = "etcdserver: permission not given"
ROOT_NOT_FOUND = "etcdserver: root user does not exist"
ROOT_ROLE_NOT_FOUND = "etcdserver: root user does not have root role"
INVALID_MANAGEMENT = "etcdserver: invalid auth management"
AUTH_OLD_REVISION = "etcdserver: revision of auth store is old"
PERMISSION_DENIED = "etcdserver: permission denied"
AUTH_NOT_ENABLED = "etcdserver: authentication is not enabled"


def as_user(user: str, auth_revision: int) -> Sequence[Any]:
    """The header; before it only a session's may stand."""
    return (AS, user, auth_revision)


def auth(action: AuthAction, *arguments: str | bytes | int) -> Sequence[Any]:
    return (AUTH, int(action), *arguments)
