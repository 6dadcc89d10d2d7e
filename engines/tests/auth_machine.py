"""What the tests of users and roles share: a state in which auth is on, and requests in a name."""

from typing import Any

from state_machine import Machine

from metastore.transport.auth_ops import SECRET_BYTES, AuthAction, Permission, as_user, auth
from metastore.transport.schema import Code, Operation

SECRET = b"s" * SECRET_BYTES
ROOT_IS_THERE = (
    auth(AuthAction.USER_ADD, "root", b"hash"),
    auth(AuthAction.USER_GRANT, "root", "root"),
)
ENABLE = auth(AuthAction.ENABLE, SECRET)
DISABLE = auth(AuthAction.DISABLE)


def done(*results: Any) -> bool:
    return all(result[0] == Code.OK for result in results)


def revision_of(machine: Machine) -> int:
    """The auth revision."""
    revision: int = machine.read(*auth(AuthAction.STATUS))[3]
    return revision


def add_user(machine: Machine, name: str, *grants: tuple[Permission, bytes, bytes]) -> None:
    """With a role of the same name, which has these permissions."""
    operations = [
        auth(AuthAction.USER_ADD, name, b"hash"),
        auth(AuthAction.ROLE_ADD, name),
        *(auth(AuthAction.ROLE_GRANT, name, int(grant[0]), *grant[1:]) for grant in grants),
        auth(AuthAction.USER_GRANT, name, name),
    ]
    assert done(*machine.run(*operations))


def guarded() -> Machine:
    """Auth is on; there is nobody but root."""
    machine = Machine()
    assert done(*machine.run(*ROOT_IS_THERE, ENABLE))
    return machine


def named(machine: Machine, user: str, *operations: Operation) -> Any:
    """The results of one request in the user's name, as of now."""
    return machine.run(as_user(user, revision_of(machine)), *operations)


def one_named(machine: Machine, user: str, operation: Operation) -> Any:
    (result,) = named(machine, user, operation)
    return result
