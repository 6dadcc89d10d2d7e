"""What an operation on users and roles must look like, action by action.

Read with auth_ops.py, which holds the words; shapes.py calls it. Strict and complete, as there:
whatever passes can be carried out without another look. Whether a name is empty or known is for the
state machine, which answers as etcd does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metastore.transport.auth_ops import SECRET_BYTES, AuthAction, Need, Permission
from metastore.transport.fields import MalformedRequest, check_fields

NAME_CHARACTERS_MAX = 1024  # of a user or a role
PASSWORD_HASH_BYTES_MAX = 1024

# Per action what comes after it.
_ARGUMENTS: Mapping[int, tuple[type, ...]] = {
    AuthAction.ENABLE: (bytes,),
    AuthAction.DISABLE: (),
    AuthAction.STATUS: (),
    AuthAction.USER_ADD: (str, bytes),
    AuthAction.USER_DELETE: (str,),
    AuthAction.USER_CHANGE_PASSWORD: (str, bytes),
    AuthAction.USER_GRANT: (str, str),
    AuthAction.USER_REVOKE: (str, str),
    AuthAction.USER_GET: (str,),
    AuthAction.USER_LIST: (),
    AuthAction.ROLE_ADD: (str,),
    AuthAction.ROLE_DELETE: (str,),
    AuthAction.ROLE_GRANT: (str, int, bytes, bytes),
    AuthAction.ROLE_REVOKE: (str, bytes, bytes),
    AuthAction.ROLE_GET: (str,),
    AuthAction.ROLE_LIST: (),
    AuthAction.CREDENTIALS: (str,),
    AuthAction.CHECK: (int, bytes, bytes),
}
_PERMISSIONS = frozenset(map(int, Permission))
_NEEDS = frozenset(map(int, Need))
_SETS_PASSWORD = (AuthAction.USER_ADD, AuthAction.USER_CHANGE_PASSWORD)


def check_name(name: str) -> None:
    """Raises MalformedRequest."""
    if len(name) > NAME_CHARACTERS_MAX:
        raise MalformedRequest(f"a name of {len(name)} characters, at most {NAME_CHARACTERS_MAX}")


def check_auth(operation: Sequence[Any]) -> None:
    """Of an array that begins with AUTH. Raises MalformedRequest."""
    action = operation[1] if len(operation) > 1 else None
    if type(action) is not int or (arguments := _ARGUMENTS.get(action)) is None:
        raise MalformedRequest(f"unknown action {action!r} on users and roles")
    check_fields(operation, (int, int, *arguments), f"action {action} on users and roles")
    for value in operation[2:]:
        if isinstance(value, str):
            check_name(value)
    check = _CHECKS.get(action)
    if check is not None:
        check(operation)


def _check_secret(operation: Sequence[Any]) -> None:
    if len(operation[2]) != SECRET_BYTES:
        raise MalformedRequest(f"a secret of {len(operation[2])} bytes, not {SECRET_BYTES}")


def _check_password(operation: Sequence[Any]) -> None:
    if len(operation[3]) > PASSWORD_HASH_BYTES_MAX:
        raise MalformedRequest(f"a password's hash of more than {PASSWORD_HASH_BYTES_MAX} bytes")


def _check_permission(operation: Sequence[Any]) -> None:
    if operation[3] not in _PERMISSIONS:
        raise MalformedRequest(f"unknown permission {operation[3]}")


def _check_need(operation: Sequence[Any]) -> None:
    if operation[2] not in _NEEDS:
        raise MalformedRequest(f"unknown need {operation[2]}")


_CHECKS: Mapping[int, Callable[[Sequence[Any]], None]] = {
    AuthAction.ENABLE: _check_secret,
    **dict.fromkeys(_SETS_PASSWORD, _check_password),
    AuthAction.ROLE_GRANT: _check_permission,
    AuthAction.CHECK: _check_need,
}
