"""What the tests of users and roles share: a state in which auth is on, and requests in a name."""

from typing import Any

from state_machine import Machine

from metastore.transport.auth_ops import SECRET_BYTES, AuthAction, Permission, as_user, auth
from metastore.transport.schema import Code, Op, Operation, put

READ, WRITE, BOTH = Permission
OWN, FOREIGN = 7, 8  # leases: keys of "u" hang on the one, another's on the other
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


def peopled() -> Machine:
    """Auth is on; u may read [a, c) and [c, e), read and write [p, q), write w."""
    machine = guarded()
    add_user(
        machine, "u", (READ, b"a", b"c"), (READ, b"c", b"e"), (BOTH, b"p", b"q"), (WRITE, b"w", b"")
    )
    machine.run((Op.LEASE_GRANT, OWN, 60), (Op.LEASE_GRANT, FOREIGN, 60), (Op.SESSION_OPEN, 1))
    machine.run(put(b"p", b"1", lease=OWN), put(b"w", b"1", lease=OWN))
    machine.run(put(b"p1", b"1", lease=FOREIGN), put(b"z", b"1", lease=FOREIGN))
    return machine
