"""Which users and roles there are, as values and as facts.

First of engines/auth. Every change is one fact written anew; nothing here is decided.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import msgpack

from metastore.engines.contract import StorageDamaged
from metastore.transport.auth_ops import Permission

FIRST_AUTH_REVISION = 1  # etcd's; +1 for each change
ROLE_BYTES_MAX = 1 << 20  # of one role or user as a fact
AUTH_BYTES_MAX = 64 << 20  # of all of them

AUTH_FACT = b"auth/"
ROLE_FACT = AUTH_FACT + b"role/"
SCALARS_FACT = AUTH_FACT + b"scalars"
USER_FACT = AUTH_FACT + b"user/"

Grant: TypeAlias = tuple[int, bytes, bytes]
"""(permission, key, range_end)"""

Role: TypeAlias = tuple[Grant, ...]
"""By ascending (key, range_end), of which each is there once."""


class User(NamedTuple):
    """`password_revision`: the auth revision that the password came with."""

    password_hash: bytes
    password_revision: int
    roles: tuple[str, ...] = ()  # ascending


class AuthTables:
    """Off and empty until it is loaded or changed. `users` and `roles` are to be read only."""

    def __init__(self) -> None:
        self.revision = FIRST_AUTH_REVISION
        self.is_enabled = False
        self.token_secret = b""
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self.changed_facts: dict[bytes, bytes | None] | None = None  # None: nobody asks
        self._size_bytes = 0

    # Changes; of users and roles, none makes a new revision by itself

    def put_user(self, name: str, user: User) -> bool:
        """False, and nothing has changed, if there is no room for it."""
        before = self.users.get(name)
        old = None if before is None else _encode(before)
        if not self._replace(USER_FACT + name.encode(), old, _encode(user)):
            return False
        self.users[name] = user
        return True

    def put_role(self, name: str, role: Role) -> bool:
        """As put_user."""
        before = self.roles.get(name)
        old = None if before is None else _encode(before)
        if not self._replace(ROLE_FACT + name.encode(), old, _encode(role)):
            return False
        self.roles[name] = role
        return True

    def drop_user(self, name: str) -> None:
        self._replace(USER_FACT + name.encode(), _encode(self.users.pop(name)), None)

    def drop_role(self, name: str) -> None:
        self._replace(ROLE_FACT + name.encode(), _encode(self.roles.pop(name)), None)

    def enable(self, token_secret: bytes) -> None:
        """The first secret stays, until auth is off."""
        self.is_enabled = True
        self.token_secret = self.token_secret or token_secret
        self._note_scalars()

    def disable(self) -> None:
        """And the next revision. No token that was signed so far is ever valid again, as in
        etcd."""
        self.is_enabled = False
        self.token_secret = b""
        self.advance()

    def advance(self) -> None:
        """The next revision."""
        self.revision += 1
        self._note_scalars()

    # As facts

    def facts(self) -> Iterator[tuple[bytes, bytes]]:
        """By ascending name; none if nothing was ever changed."""
        for name in sorted(self.roles):
            yield ROLE_FACT + name.encode(), _encode(self.roles[name])
        if self._scalars() != _SCALARS_AT_FIRST:
            yield SCALARS_FACT, _encode(self._scalars())
        for name in sorted(self.users):
            yield USER_FACT + name.encode(), _encode(self.users[name])

    def load(self, facts: Iterable[tuple[bytes, bytes]]) -> None:
        """Of empty tables, in any order. Raises StorageDamaged."""
        for name, value in facts:
            try:
                self._load(name, msgpack.unpackb(value, use_list=False))
            except Exception:
                raise StorageDamaged(f"a fact that is no user or role: {name!r}") from None
            self._size_bytes += _size_bytes(name, value)

    def _load(self, name: bytes, value: Any) -> None:
        """Raises anything for what cannot be one."""
        if name.startswith(ROLE_FACT):
            role = tuple(_checked(grant, (int, bytes, bytes)) for grant in value)
            for permission, *_ in role:
                Permission(permission)
            self.roles[name[len(ROLE_FACT) :].decode()] = role
        elif name.startswith(USER_FACT):
            user = User(*_checked(value, (bytes, int, tuple)))
            _checked(user.roles, (str,) * len(user.roles))
            self.users[name[len(USER_FACT) :].decode()] = user
        elif name == SCALARS_FACT:
            self.revision, self.is_enabled, self.token_secret = _checked(value, (int, bool, bytes))
        else:
            raise KeyError(name)

    def _scalars(self) -> tuple[int, bool, bytes]:
        return self.revision, self.is_enabled, self.token_secret

    def _note_scalars(self) -> None:
        if self.changed_facts is not None:
            self.changed_facts[SCALARS_FACT] = _encode(self._scalars())

    def _replace(self, name: bytes, old: bytes | None, new: bytes | None) -> bool:
        size_bytes = self._size_bytes - _size_bytes(name, old)
        if new is not None:
            grows = old is None or len(new) > len(old)
            size_bytes += _size_bytes(name, new)
            if grows and (len(new) > ROLE_BYTES_MAX or size_bytes > AUTH_BYTES_MAX):
                return False
        self._size_bytes = size_bytes
        if self.changed_facts is not None:
            self.changed_facts[name] = new
        return True


_SCALARS_AT_FIRST = (FIRST_AUTH_REVISION, False, b"")


def _size_bytes(name: bytes, value: bytes | None) -> int:
    return 0 if value is None else len(name) + len(value)


def _checked(value: Any, types: tuple[type, ...]) -> Any:
    if tuple(map(type, value)) != types:
        raise TypeError(types)
    return value


def _encode(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed
